"""The life of a request: one answer each, however often it is delivered and whoever dies."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import permutations

import pytest

from shared.buckets import BucketError, FolderBucket, MemoryBucket
from shared.contract.manifests import canonical_hash, parse
from shared.errors import InvalidField, TooFewPhotos
from shared.events import ObjectCreated
from shared.lifecycle.claims import Claims, HeldClaim
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.notify.bucket import BucketNotifier
from shared.settings import Lease, Limits, Settings
from tests.echo import QUICK, Echo, invocation, until


@pytest.fixture(params=["memory", "folder"])
def bucket(request, tmp_path):
    return MemoryBucket() if request.param == "memory" else FolderBucket(tmp_path / "bucket")


def drop(bucket, request_id="r1", name=None, **more) -> ObjectCreated:
    key = f"requests/check/{name or request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id} | more).encode())
    return ObjectCreated(key)


def answer(bucket, request_id="r1"):
    return json.loads(bucket.get(f"results/check/{request_id}/result.json"))


def test_a_request_is_answered_and_its_artifact_lies_under_its_attempt(bucket):
    assert invocation(bucket, Echo()).receive(drop(bucket, x=1)) is Outcome.ANSWERED
    got = answer(bucket)
    assert (got["request_id"], got["code"], got["message"]) == ("r1", "OK", "success")
    assert got["data"]["echo"] == {"request_id": "r1", "x": 1}
    assert got["data"]["artifact"] == "results/check/r1/a1/echo.txt"
    assert 0 < got["data"]["cost_time"] < 60
    assert bucket.get("results/check/r1/a1/echo.txt") == b"echo"
    assert bucket.head("progress/check/r1.json") is None


def test_a_repeated_delivery_and_a_copy_under_another_name_run_nothing(bucket):
    function = Echo()
    invoked = invocation(bucket, function)
    first, copy = drop(bucket), drop(bucket, name="sub/copy")
    assert [invoked.receive(one) for one in (first, first, copy)] == [
        Outcome.ANSWERED,
        Outcome.ALREADY,
        Outcome.ALREADY,
    ]
    assert function.runs == ["r1"]


def test_every_answer_repeats_the_metadata_whatever_became_of_the_request(bucket):
    metadata = {"order": "A-1007"}

    def work(body, workspace):
        if workspace.request_id == "slow":
            while True:
                time.sleep(0.01)
                workspace.check()
        if workspace.request_id == "bad":
            raise InvalidField("x: wrong", "x")

    quick = QUICK.model_copy(update={"limits": QUICK.limits.model_copy(update={"request_seconds": 0.3})})
    invoked = invocation(bucket, Echo(work), quick)
    for name in ("good", "bad", "slow"):
        invoked.receive(drop(bucket, name, metadata=metadata))
        assert answer(bucket, name)["metadata"] == metadata
    assert answer(bucket, "slow")["data"]["error"]["retryable"] is True
    invoked.receive(drop(bucket, "wrong", metadata=["A-1007"]))
    assert "metadata" not in answer(bucket, "wrong")


def test_the_same_id_with_another_body_is_a_conflict_that_never_touches_the_first_answer(bucket):
    invoked = invocation(bucket, Echo())
    invoked.receive(drop(bucket, x=1))
    before = bucket.get("results/check/r1/result.json")
    assert invoked.receive(drop(bucket, name="other", x=2)) is Outcome.CONFLICT
    conflicts = [info.key for info in bucket.list("results/check/r1/conflict-")]
    assert len(conflicts) == 1
    told = json.loads(bucket.get(conflicts[0]))
    assert told["data"]["error"]["type"] == "ConflictingRequest"
    assert "requests/check/other.json" in told["message"]
    assert bucket.get("results/check/r1/result.json") == before


def test_a_failure_is_an_answer_and_is_not_run_again(bucket):
    def fail(body, workspace):
        raise TooFewPhotos("2 usable photos, 5 are needed", "images")

    function = Echo(fail)
    invoked = invocation(bucket, function)
    created = drop(bucket)
    assert invoked.receive(created) is Outcome.ANSWERED
    assert invoked.receive(created) is Outcome.ALREADY
    got = answer(bucket)
    assert (got["code"], got["message"]) == ("error", "2 usable photos, 5 are needed")
    assert got["data"]["error"] == {"type": "TooFewPhotos", "retryable": False, "field": "images"}
    assert 0 < got["data"]["cost_time"] < 60
    assert function.runs == ["r1"]
    assert list(bucket.list("results/check/r1/a1/")) == [], "artifacts that no answer names are removed"
    assert bucket.head("users/u/model.json") is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("odd"), "InternalError"),
        (MemoryError(), "OutOfMemory"),
        (RecursionError("deep"), "InternalError"),
        (OSError(28, "disk full"), "InternalError"),
    ],
)
def test_an_unforeseen_failure_is_an_answer_too_and_the_worker_lives_on(bucket, error, kind):
    def fail(body, workspace):
        if workspace.request_id == "bad":
            raise error

    invoked = invocation(bucket, Echo(fail))
    assert invoked.receive(drop(bucket, "bad")) is Outcome.ANSWERED
    told = answer(bucket, "bad")["data"]["error"]
    assert (told["type"], told["retryable"], told["retry_after"]) == (kind, True, 30 if kind == "InternalError" else 60)
    assert type(error).__name__ in answer(bucket, "bad")["message"]
    assert invoked.receive(drop(bucket, "good")) is Outcome.ANSWERED


def test_an_answer_that_json_cannot_say_is_an_error_answer(bucket):
    function = Echo(lambda body, workspace: body.update(x=float("nan")))
    assert invocation(bucket, function).receive(drop(bucket)) is Outcome.ANSWERED
    assert answer(bucket)["data"]["error"]["type"] == "InternalError"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"no json", "InvalidManifest"),
        (b'{"request_id": "../x"}', "InvalidManifest"),
        (b" " * 100_001, "ManifestTooLarge"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_answered_under_the_hash_of_its_bytes(bucket, text, error):
    bucket.put("requests/check/odd.json", text)
    invoked = invocation(bucket, Echo())
    assert invoked.receive(ObjectCreated("requests/check/odd.json")) is Outcome.ANSWERED
    assert invoked.receive(ObjectCreated("requests/check/odd.json")) is Outcome.ALREADY
    (key,) = [info.key for info in bucket.list("results/check/")]
    got = json.loads(bucket.get(key))
    assert key == f"results/check/{got['request_id']}/result.json"
    assert got["request_id"].startswith("invalid-")
    assert len(got["request_id"]) == len("invalid-") + 12
    assert got["data"]["error"]["type"] == error
    assert "requests/check/odd.json" in got["message"]


def put(bucket, name, text):
    key = f"requests/check/{name}"
    bucket.put(key, text)
    return ObjectCreated(key)


def test_a_manifest_of_powershell_is_answered_under_its_own_id(bucket):
    text = '{"request_id": "r1",\r\n "images": ["photos/a.jpg"]}\r\n'
    assert invocation(bucket, Echo()).receive(put(bucket, "a.json", text.encode("utf-16"))) is Outcome.ANSWERED
    assert answer(bucket)["data"]["echo"]["images"] == ["photos/a.jpg"]


def test_a_manifest_in_latin_1_is_answered_under_its_own_id_with_what_to_do_and_never_run(bucket):
    function = Echo()
    text = '{"request_id": "r1", "images": ["photos/caf\xe9.jpg"]}'.encode("latin-1")
    assert invocation(bucket, function).receive(put(bucket, "a.json", text)) is Outcome.ANSWERED
    assert answer(bucket)["data"]["error"]["type"] == "InvalidManifest"
    assert "save it as UTF-8" in answer(bucket)["message"]
    assert function.runs == []


def test_an_id_as_a_number_and_as_text_is_one_request(bucket):
    function = Echo()
    invoked = invocation(bucket, function)
    bodies = [b'{"request_id": 777, "images": ["a"]}', b'{"request_id": "777", "images": ["a"], "configure": null}']
    assert invoked.receive(put(bucket, "n1.json", bodies[0])) is Outcome.ANSWERED
    assert invoked.receive(put(bucket, "n2.json", bodies[1])) is Outcome.ALREADY
    assert function.runs == ["777"]
    assert not list(bucket.list("results/check/777/conflict-"))


@pytest.mark.parametrize("order", list(permutations(("null", "false", None))))
def test_null_the_default_and_nothing_are_one_request_in_any_order(bucket, order):
    function = Echo()
    invoked = invocation(bucket, function)
    for number, value in enumerate(order):
        configure = "" if value is None else f', "configure": {{"face_reconize": {value}}}'
        created = put(bucket, f"n{number}.json", f'{{"request_id": "r1", "images": ["a"]{configure}}}'.encode())
        assert invoked.receive(created) is (Outcome.ALREADY if number else Outcome.ANSWERED)
    assert function.runs == ["r1"]
    assert not list(bucket.list("results/check/r1/conflict-"))


@pytest.mark.parametrize(
    ("body", "hashed"),
    [
        ({"request_id": 777, "images": ["a"], "configure": None}, None),
        ({"request_id": 777, "images": ["a"], "configure": {"face_reconize": False}}, None),
        (
            {"request_id": 777, "images": ["a"], "configure": {"face_reconize": False, "x": None}},
            {"request_id": "777", "images": ["a"], "configure": {"face_reconize": False}},
        ),
    ],
)
def test_a_claim_of_an_earlier_version_that_compared_more_strictly_is_no_conflict(bucket, body, hashed):
    record = {"owner": "w", "attempt": 1, "nonce": "n", "payload_sha256": canonical_hash(hashed or body)}
    bucket.put("claims/check/777/000001.json", json.dumps(record | {"manifest": "m", "started": 0.0}).encode())
    bucket.put("results/check/777/result.json", json.dumps({"request_id": "777", "code": "OK"}).encode())
    assert invocation(bucket, Echo()).receive(put(bucket, "a.json", json.dumps(body).encode())) is Outcome.ALREADY


@pytest.mark.parametrize(("again", "outcome"), [({}, Outcome.ALREADY), ({"face_reconize": True}, Outcome.CONFLICT)])
@pytest.mark.parametrize("kept", [True, False])
def test_a_body_without_its_defaults_is_the_one_with_them_that_an_earlier_version_accepted(
    bucket, again, outcome, kept
):
    body = {"request_id": "r1", "images": ["a"]}
    first = put(bucket, "a.json", json.dumps(body | {"configure": {"face_reconize": False}}).encode())
    record = {"owner": "w", "attempt": 1, "nonce": "n", "manifest": first.key, "started": 0.0}
    record["payload_sha256"] = canonical_hash(json.loads(bucket.get(first.key)))
    bucket.put("claims/check/r1/000001.json", json.dumps(record).encode())
    bucket.put("results/check/r1/result.json", json.dumps({"request_id": "r1", "code": "OK"}).encode())
    if not kept:
        bucket.delete(first.key)
    created = put(bucket, "b.json", json.dumps(body | {"configure": again}).encode())
    assert invocation(bucket, Echo()).receive(created) is (outcome if kept else Outcome.CONFLICT)


@pytest.mark.parametrize("manifest", ["../x", "", "requests/check/none.json", "results/check/r1/result.json", "claims"])
def test_a_claim_that_names_no_manifest_is_compared_by_its_hash_alone(bucket, manifest):
    created = put(bucket, "b.json", b'{"request_id": "r1", "images": ["a"]}')
    record = {"owner": "w", "attempt": 1, "nonce": "n", "manifest": manifest, "payload_sha256": "0", "started": 0.0}
    bucket.put("claims/check/r1/000001.json", json.dumps(record).encode())
    bucket.put("results/check/r1/result.json", json.dumps({"request_id": "r1", "code": "OK"}).encode())
    assert invocation(bucket, Echo()).receive(created) is Outcome.CONFLICT


def test_what_stands_twice_in_a_manifest_is_told_in_its_answer_whatever_that_is(bucket):
    text = b'{"request_id": "r0", "request_id": "r1", "configure": {"seed": 1, "seed": 7}}'
    told = ["request_id appears more than once", "configure.seed appears more than once"]
    assert invocation(bucket, Echo()).receive(put(bucket, "a.json", text)) is Outcome.ANSWERED
    assert [said.partition(" in ")[0] for said in answer(bucket)["data"]["warnings"]] == told
    bucket.delete("results/check/r1/result.json")
    bucket.delete("claims/check/r1/000001.json")

    def fail(body, workspace):
        raise InvalidField("no", "x")

    assert invocation(bucket, Echo(fail)).receive(put(bucket, "a.json", text)) is Outcome.ANSWERED
    assert [said.partition(" in ")[0] for said in answer(bucket)["data"]["warnings"]] == told


def test_an_answer_spells_out_what_nobody_sees_in_the_key_that_it_speaks_of(bucket):
    key = "a\u202eb\xa0\u3164Zo\u00eb.json"
    assert invocation(bucket, Echo()).receive(put(bucket, key, b"{}")) is Outcome.ANSWERED
    (folder,) = bucket.folders("results/check/")
    told = json.loads(bucket.get(f"results/check/{folder}/result.json"))
    assert "requests/check/a\\u202eb\\u00a0\\u3164Zo\u00eb.json: " in told["message"]
    assert told["data"]["manifest"] == f"requests/check/{key}", "by which a program finds it again"


@pytest.mark.parametrize("name", ["45.JSON", "45.Json", "sub/Folder/45.jSON"])
def test_capitals_in_the_ending_of_a_name_are_no_matter(bucket, name):
    assert invocation(bucket, Echo()).receive(put(bucket, name, b'{"request_id": "r1"}')) is Outcome.ANSWERED


@pytest.mark.parametrize(
    "key",
    [
        "requests/check/x.txt",
        "requests/check/x.json.txt",
        "requests/Check/x.json",
        "requests/x.json",
        "requests/check/.x.JSON",
        "requests/train/x.json",
        "requests/check/.x.json",
        "results/check/x.json",
        "requests/check/gone.json",
    ],
)
def test_what_is_no_request_is_ignored(bucket, key):
    if "gone" not in key:
        bucket.put(key, b'{"request_id": "r1"}')
    assert invocation(bucket, Echo()).receive(ObjectCreated(key)) is Outcome.IGNORED


def test_an_empty_manifest_is_ignored_until_it_has_content(bucket):
    bucket.put("requests/check/x.json", b"")
    assert invocation(bucket, Echo()).receive(ObjectCreated("requests/check/x.json")) is Outcome.IGNORED


def test_a_dead_owner_is_followed_by_the_next_attempt_and_its_artifacts_go(bucket):
    created = drop(bucket)
    sha = _sha(bucket, created)
    assert isinstance(Claims(bucket, "check", QUICK.lease, "dead").acquire("r1", created.key, sha), HeldClaim)
    bucket.put("results/check/r1/a1/half.bin", b"half")
    function = Echo()
    invoked = invocation(bucket, function)
    assert invoked.receive(created) is Outcome.BUSY, "the owner may still live"
    until(lambda: invoked.receive(created) is Outcome.ANSWERED, 5)
    assert function.runs == ["r1"]
    assert answer(bucket)["data"]["artifact"] == "results/check/r1/a2/echo.txt"
    assert [info.key for info in bucket.list("results/check/r1/a")] == ["results/check/r1/a2/echo.txt"]


def test_a_request_that_kills_every_worker_is_answered_with_an_error_after_three(bucket):
    created = drop(bucket)
    sha = _sha(bucket, created)
    for attempt in (1, 2, 3):
        claims = Claims(bucket, "check", QUICK.lease, f"dead{attempt}")
        until(lambda claims=claims: isinstance(claims.acquire("r1", created.key, sha), HeldClaim), 5)
    function = Echo()
    invoked = invocation(bucket, function)
    until(lambda: invoked.receive(created) is Outcome.ANSWERED, 5)
    assert function.runs == []
    assert answer(bucket)["data"]["error"]["type"] == "AttemptsExhausted"
    assert "3 attempts ended" in answer(bucket)["message"]
    assert "a worker stopped responding (3 times)" in answer(bucket)["message"]


def test_an_owner_that_beats_keeps_its_request_however_long_it_takes(bucket):
    function = Echo(lambda body, workspace: time.sleep(4 * QUICK.lease.seconds))
    created = drop(bucket)
    thread = threading.Thread(target=invocation(bucket, function).receive, args=(created,))
    thread.start()
    until(lambda: function.runs)
    other, outcomes = invocation(bucket, function, owner="w2"), set()
    while thread.is_alive():
        outcomes.add(other.receive(created))
        time.sleep(0.05)
    thread.join()
    assert outcomes <= {Outcome.BUSY, Outcome.ALREADY}
    assert function.runs == ["r1"]
    assert answer(bucket)["data"]["artifact"] == "results/check/r1/a1/echo.txt"


def test_a_zombie_that_was_taken_over_publishes_nothing_and_removes_its_artifacts(bucket):
    asleep, wake = threading.Event(), threading.Event()

    def freeze(body, workspace):
        asleep.set()
        wake.wait(20)

    created = drop(bucket)
    zombie = invocation(bucket, Echo(freeze), owner="zombie")
    zombie._claims.beat = lambda request_id, record: record  # its heartbeat has stopped, as a paused machine's does
    outcome: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcome.append(zombie.receive(created)))
    thread.start()
    asleep.wait(5)
    heir = invocation(bucket, Echo(), owner="heir")
    until(lambda: heir.receive(created) is Outcome.ANSWERED, 5)
    before = bucket.get("results/check/r1/result.json")
    wake.set()
    thread.join()
    assert bucket.get("results/check/r1/result.json") == before
    assert [info.key for info in bucket.list("results/check/r1/a")] == ["results/check/r1/a2/echo.txt"]


def test_work_is_interrupted_at_its_next_report_when_another_attempt_has_taken_over(bucket):
    def work(body, workspace):
        key = "claims/check/r1/000002.json"
        bucket.put(key, bucket.get("claims/check/r1/000001.json"))
        for _ in range(200):
            workspace.progress("work", 1, 2)
            time.sleep(0.02)
        raise AssertionError("nobody stopped the work")

    assert invocation(bucket, Echo(work)).receive(drop(bucket)) is Outcome.BUSY
    assert bucket.head("results/check/r1/result.json") is None


def test_a_shutdown_hands_the_request_back_without_counting_an_attempt(bucket):
    created, shutdown = drop(bucket), Shutdown(0.0)

    def work(body, workspace):
        shutdown.request()
        time.sleep(0.01)
        workspace.progress("work", 1, 2)

    going = Invocation(bucket, Echo(work), QUICK, "going", shutdown)
    assert going.receive(created) is Outcome.HANDED_BACK
    for turn in range(4):
        shutdown = Shutdown(0.0)
        assert Invocation(bucket, Echo(work), QUICK, f"going{turn}", shutdown).receive(created) is Outcome.HANDED_BACK
    assert invocation(bucket, Echo()).receive(created) is Outcome.ANSWERED, "at once, and although five gave it back"
    assert answer(bucket)["data"]["artifact"] == "results/check/r1/a6/echo.txt"
    assert [info.key for info in bucket.list("results/check/r1/a")] == ["results/check/r1/a6/echo.txt"]


def test_the_next_attempt_goes_on_from_what_the_last_one_saved(bucket):
    """After a hand-over and after a death alike; the answer clears the saved data."""
    created, read = drop(bucket), []

    def saving(body, workspace):
        read.append(workspace.previous("scratch/done"))
        workspace.save("scratch/done", f"by {len(read)}".encode())

    def going_down(body, workspace):
        saving(body, workspace)
        shutdown.request()
        time.sleep(0.01)
        workspace.progress("work", 1, 2)

    def dying(body, workspace):
        saving(body, workspace)
        raise KeyboardInterrupt

    shutdown = Shutdown(0.0)
    going = Invocation(bucket, Echo(going_down), QUICK, "going", shutdown)
    assert going.receive(created) is Outcome.HANDED_BACK
    with pytest.raises(KeyboardInterrupt):
        invocation(bucket, Echo(dying), owner="dying").receive(created)
    last = invocation(bucket, Echo(saving), owner="last")
    until(lambda: last.receive(created) is Outcome.ANSWERED, 10)
    assert read == [None, b"by 1", b"by 2"]
    assert [info.key for info in bucket.list("results/check/r1/a")] == ["results/check/r1/a3/echo.txt"]


def test_a_request_over_its_deadline_is_answered_even_while_it_hangs(bucket):
    settings = Settings(lease=QUICK.lease, limits=Limits(request_seconds=0.3))
    wake = threading.Event()
    created = drop(bucket)
    hanging = invocation(bucket, Echo(lambda body, workspace: wake.wait(20)), settings)
    thread = threading.Thread(target=hanging.receive, args=(created,))
    thread.start()
    until(lambda: bucket.head("results/check/r1/result.json"), 5)
    assert answer(bucket)["data"]["error"]["type"] == "DeadlineExceeded"
    wake.set()
    thread.join()
    assert answer(bucket)["data"]["error"]["type"] == "DeadlineExceeded"
    assert list(bucket.list("results/check/r1/a")) == []


def test_a_manifest_overwritten_before_its_worker_answered_is_a_conflict_and_the_first_body_wins(bucket):
    created = drop(bucket, x=1)

    def work(body, workspace):
        drop(bucket, x=2)

    invoked = invocation(bucket, Echo(work))
    assert invoked.receive(created) is Outcome.ANSWERED
    assert answer(bucket)["data"]["echo"]["x"] == 1
    assert invoked.receive(created) is Outcome.CONFLICT


def test_an_accepted_body_that_was_overwritten_while_its_worker_died_is_still_answered(bucket):
    created = drop(bucket, x=1)
    Claims(bucket, "check", QUICK.lease, "dead").acquire("r1", created.key, _sha(bucket, created))
    drop(bucket, x=2)
    invoked = invocation(bucket, Echo())
    until(lambda: invoked.receive(created) is Outcome.CONFLICT, 5)
    assert answer(bucket)["data"]["error"]["type"] == "ConflictingRequest"


def test_a_crash_between_the_answer_and_the_pointer_is_healed_by_the_next_look(bucket):
    invoked = invocation(bucket, Echo())
    created = drop(bucket)
    invoked.receive(created)
    bucket.delete("users/u/model.json")
    bucket.put("progress/check/r1.json", b"{}")  # what such a crash leaves: it goes when all is done
    assert invocation(bucket, Echo(), owner="next").receive(created) is Outcome.ALREADY
    assert json.loads(bucket.get("users/u/model.json"))["artifact"] == "results/check/r1/a1/echo.txt"


def test_an_old_answer_seen_again_does_not_take_the_pointer_from_a_newer_one(bucket):
    invoked = invocation(bucket, Echo())
    old = drop(bucket, "old")
    invoked.receive(old)
    time.sleep(0.02)
    invoked.receive(drop(bucket, "new"))
    assert invoked.receive(old) is Outcome.ALREADY
    assert "/new/" in json.loads(bucket.get("users/u/model.json"))["artifact"]


def test_a_completion_event_is_written_once_however_often_it_is_told(bucket):
    created = drop(bucket)
    for owner in ("w1", "w2"):
        Invocation(bucket, Echo(), QUICK, owner, Shutdown(1), [BucketNotifier(bucket)]).receive(created)
    (key,) = [info.key for info in bucket.list("notifications/check/")]
    event = json.loads(bucket.get(key))
    assert event["specversion"] == "1.0"
    assert (event["type"], event["subject"]) == ("photog.check.succeeded.v1", "r1")
    assert event["dataref"] == "results/check/r1/result.json"
    assert key.endswith(event["id"] + ".json")


def test_progress_says_502_with_stage_and_figures_while_it_runs(bucket):
    seen = []

    def work(body, workspace):
        workspace.progress("train", 3, 10, 7.5, loss=0.25)
        seen.append(json.loads(bucket.get("progress/check/r1.json")))

    invocation(bucket, Echo(work)).receive(drop(bucket))
    assert seen[0]["code"] == "502"
    assert seen[0]["data"] == {"stage": "train", "step": 3, "steps": 10, "eta_seconds": 7.5, "loss": 0.25}


def test_twenty_requests_each_delivered_three_times_to_four_workers_run_twenty_times(bucket):
    function = Echo(lambda body, workspace: time.sleep(0.01))
    deliveries = [drop(bucket, f"r{number}") for number in range(20)] * 3
    settings = QUICK.model_copy(update={"lease": Lease(seconds=30)})
    workers = [invocation(bucket, function, settings, owner=f"w{index}") for index in range(4)]

    def settled(worker: Invocation, created: ObjectCreated) -> bool:
        return worker.receive(created).settled

    def deliver(index: int) -> None:
        for one in deliveries[index::4]:
            until(partial(settled, workers[index], one))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deliver, range(4)))
    assert sorted(function.runs) == sorted(f"r{number}" for number in range(20))
    assert all(answer(bucket, f"r{number}")["code"] == "OK" for number in range(20))


def test_a_store_that_fails_for_a_moment_costs_a_heartbeat_not_the_request():
    class Flaky(MemoryBucket):
        fails = False

        def put(self, key, data):
            if self.fails and key.startswith(("claims/", "progress/")):
                raise BucketError("down")
            super().put(key, data)

    bucket = Flaky()

    def work(body, workspace):
        bucket.fails = True
        time.sleep(0.25)
        workspace.progress("late", 1, 1)
        bucket.fails = False

    assert invocation(bucket, Echo(work)).receive(drop(bucket)) is Outcome.ANSWERED


def _sha(bucket, created) -> str:
    return parse(bucket.get(created.key)).sha256
