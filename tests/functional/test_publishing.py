"""Publication by a worker whose store fails, whose clock is wrong, or whose manifest is hostile."""

import hashlib
import json
import sys
import threading
import time

import pytest

from shared.buckets import BucketError, FolderBucket, MemoryBucket
from shared.contract import keys
from shared.contract.manifests import decode, invalid_id
from shared.events import ObjectCreated
from shared.lifecycle import heartbeat
from shared.lifecycle import invocation as invoking
from shared.lifecycle.claims import ClaimBusy, Claims, HeldClaim
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.manifest_reader import COUNTED_BYTES
from shared.lifecycle.pointers import Pointers
from shared.notify.bucket import BucketNotifier
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.operations.dead_letters import DeadLetterFunction
from shared.operations.status import overview
from shared.settings import Lease, Limits, Scan, Settings
from shared.triggers.scan import ScanTrigger
from tests.echo import QUICK, Echo, invocation, until

RESULT = "results/check/r1/result.json"


class Failing(MemoryBucket):
    """Fails this many times to create a key; with `loses`, the key is written first, as when only the reply is lost."""

    def __init__(self, key: str = RESULT, times: int = 0, loses: bool = False) -> None:
        super().__init__()
        self.key, self.times, self.loses = key, times, loses

    def put_if_absent(self, key, data):
        if key == self.key and self.times > 0:
            self.times -= 1
            if self.loses:
                super().put_if_absent(key, data)
            raise BucketError("the store is away")
        return super().put_if_absent(key, data)


def drop(bucket, request_id="r1", **more) -> ObjectCreated:
    key = f"requests/check/{request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id} | more).encode())
    return ObjectCreated(key)


def answer(bucket, request_id="r1"):
    return json.loads(bucket.get(f"results/check/{request_id}/result.json"))


def delete_claims(bucket):
    for info in list(bucket.list("claims/")):
        bucket.delete(info.key)


def test_who_lost_an_attempt_of_the_winners_number_leaves_the_winners_artifacts():
    """Claims that were deleted under a running request let the next worker begin at number 1 again."""
    bucket = MemoryBucket()
    created = drop(bucket)

    def work(body, workspace):
        delete_claims(bucket)
        assert invocation(bucket, Echo(), owner="w2").receive(created) is Outcome.ANSWERED

    invocation(bucket, Echo(work)).receive(created)
    assert bucket.get(answer(bucket)["data"]["artifact"]) == b"echo"


@pytest.mark.parametrize("taken", [False, True])
def test_a_claim_that_was_deleted_does_not_come_back_by_a_beat(taken):
    bucket = MemoryBucket()
    owner, other = (Claims(bucket, "check", QUICK.lease, name) for name in ("w1", "w2"))
    held = owner.acquire_first("r1", "m", "body")
    delete_claims(bucket)
    theirs = other.acquire_first("r1", "m", "body") if taken else None
    assert owner.beat("r1", held.record) is None
    assert other.first("r1") == (theirs.record if taken else None)


def test_a_claim_that_is_withdrawn_late_stays_before_the_one_of_the_worker_that_took_over():
    bucket, now = MemoryBucket(), [0.0]
    owner, other = (Claims(bucket, "check", QUICK.lease, name, clock=lambda: now[0]) for name in ("w1", "w2"))
    asked = ("r1", "requests/check/r1.json", "")
    held = owner.acquire_first(*asked)
    assert held is not None
    assert isinstance(other.acquire(*asked), ClaimBusy)
    now[0] += 100.0
    assert isinstance(other.acquire(*asked), HeldClaim)
    owner.withdraw("r1", held.record)
    assert [one.owner for one in other.all("r1")] == ["w1", "w2"]


def test_a_worker_that_was_frozen_while_its_request_was_erased_writes_nothing_more(monkeypatch):
    """Nobody has taken the request over, and yet it is no longer to be answered."""
    bucket = MemoryBucket()
    created = drop(bucket)

    def work(body, workspace):
        for info in list(bucket.list("")):
            bucket.delete(info.key)
        late = time.monotonic() + 3 * QUICK.lease.seconds
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda: late)
        workspace.save("late.txt", b"late")

    assert invocation(bucket, Echo(work)).receive(created) is Outcome.BUSY
    assert [info.key for info in bucket.list("")] == []


def test_a_claim_that_was_damaged_is_mended_by_a_beat():
    bucket = MemoryBucket()
    claims = Claims(bucket, "check", QUICK.lease, "w1")
    held = claims.acquire_first("r1", "m", "body")
    bucket.put("claims/check/r1/000001.json", b"no claim")
    beaten = claims.beat("r1", held.record)
    assert claims.first("r1") == beaten


@pytest.mark.parametrize("loses", [False, True])
def test_an_answer_that_cannot_be_written_for_a_moment_is_written_by_the_same_attempt(loses):
    bucket, function = Failing(times=3, loses=loses), Echo()
    assert invocation(bucket, function).receive(drop(bucket)) is Outcome.ANSWERED
    assert function.runs == ["r1"]
    assert answer(bucket)["code"] == "OK"
    assert [info.key for info in bucket.list("claims/")] == ["claims/check/r1/000001.json"]
    assert bucket.head("results/check/r1/a1/echo.txt")
    assert bucket.head("progress/check/r1.json") is None


def test_a_store_that_stays_away_costs_attempts_nobody_counts(monkeypatch):
    monkeypatch.setattr(invoking, "PUBLISHING_SECONDS", 0.0)
    bucket, function = Failing(times=7), Echo()
    created = drop(bucket)
    for turn in range(7):
        with pytest.raises(BucketError, match="away"):
            invocation(bucket, function, owner=f"w{turn}").receive(created)
    assert invocation(bucket, function).receive(created) is Outcome.ANSWERED, "at once: the claims were given back"
    assert answer(bucket)["code"] == "OK"
    assert [info.key for info in bucket.list("results/")] == ["results/check/r1/a8/echo.txt", RESULT]


def test_an_artifact_that_cannot_be_written_is_no_answer_to_the_request():
    class Full(MemoryBucket):
        full = True

        def put(self, key, data):
            if self.full and key.startswith("results/"):
                raise BucketError("the disk is full")
            super().put(key, data)

    bucket = Full()
    created = drop(bucket)
    with pytest.raises(BucketError, match="full"):
        invocation(bucket, Echo()).receive(created)
    assert bucket.head(RESULT) is None
    bucket.full = False
    assert invocation(bucket, Echo(), owner="w2").receive(created) is Outcome.ANSWERED
    assert answer(bucket)["code"] == "OK"


def test_a_file_in_the_place_of_the_progress_folder_keeps_no_answer_back(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    (bucket.root / "progress").write_text("in the way")
    bucket.put("requests/check/bad.json", b"no json")
    invoked = invocation(bucket, Echo(), hooks=[BucketNotifier(bucket)])
    assert invoked.receive(drop(bucket)) is Outcome.ANSWERED
    assert invoked.receive(ObjectCreated("requests/check/bad.json")) is Outcome.ANSWERED
    assert answer(bucket)["code"] == "OK"
    assert len(list(bucket.list("notifications/check/"))) == 2


def test_a_folder_in_the_place_of_an_answer_fails_until_it_is_gone(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    (bucket.root / RESULT).mkdir(parents=True)
    trigger, receive = ScanTrigger(bucket, "check", Scan(seconds=0.05)), invocation(bucket, Echo()).receive
    drop(bucket)
    drop(bucket, "r2")
    trigger.scan(receive, threading.Event())
    assert answer(bucket, "r2")["code"] == "OK"
    (told,) = overview(bucket, Limits())["check"]["failing"]
    assert told["key"] == "requests/check/r1.json"
    (bucket.root / RESULT).rmdir()
    time.sleep(0.6)
    trigger.scan(receive, threading.Event())
    assert answer(bucket)["code"] == "OK"


def test_a_deadline_that_falls_into_the_publishing_takes_no_artifact_from_the_answer():
    class Slow(MemoryBucket):
        def put_if_absent(self, key, data):
            done = super().put_if_absent(key, data)
            if key == RESULT:
                time.sleep(0.6)
            return done

    bucket = Slow()
    settings = Settings(lease=QUICK.lease, limits=Limits(request_seconds=0.3))
    invocation(bucket, Echo(), settings).receive(drop(bucket))
    assert answer(bucket)["code"] == "OK"
    assert bucket.head(answer(bucket)["data"]["artifact"])


def test_a_deadline_is_answered_although_the_store_fails_at_that_moment():
    bucket = Failing(times=2)
    settings = Settings(lease=QUICK.lease, limits=Limits(request_seconds=0.2))
    wake = threading.Event()
    hanging = invocation(bucket, Echo(lambda body, workspace: wake.wait(20)), settings)
    thread = threading.Thread(target=hanging.receive, args=(drop(bucket),))
    thread.start()
    until(lambda: bucket.head(RESULT), 10)
    wake.set()
    thread.join()
    assert answer(bucket)["data"]["error"]["type"] == "DeadlineExceeded"


def test_a_clock_set_back_between_two_trainings_does_not_keep_the_pointer_on_the_first():
    bucket = MemoryBucket()
    invoked = invocation(bucket, Echo())
    invoked.receive(drop(bucket, "t1"))
    pointer = json.loads(bucket.get("users/u/model.json"))
    for info in list(bucket.list("users/u/swaps/")):
        bucket.delete(info.key)
    bucket.put("users/u/model.json", json.dumps(pointer | {"committed": pointer["committed"] + 3600}).encode())
    invoked.receive(drop(bucket, "t2"))
    assert "/t2/" in json.loads(bucket.get("users/u/model.json"))["artifact"]


def test_an_answer_over_the_limit_is_an_error_that_says_so():
    bucket = MemoryBucket()
    settings = Settings(lease=QUICK.lease, limits=Limits(answer_bytes=2000))
    invoked = invocation(bucket, Echo(lambda body, workspace: body.update(x="x" * 3000)), settings)
    assert invoked.receive(drop(bucket)) is Outcome.ANSWERED
    assert answer(bucket)["data"]["error"] == {"type": "AnswerTooLarge", "retryable": False}
    assert "2000" in answer(bucket)["message"]
    assert len(bucket.get(RESULT)) < 2000


def large(bucket, request_id="r1", key="requests/check/r1.json") -> bytes:
    text = json.dumps({"request_id": request_id, "padding": "x" * COUNTED_BYTES}).encode()
    bucket.put(key, text)
    return text


LARGE = Settings(lease=Lease(seconds=0.2, attempts=3), limits=Limits())


def test_a_large_manifest_is_counted_before_it_is_read_and_not_after():
    bucket = MemoryBucket()
    seen = []
    stored = bucket.put_if_absent
    bucket.put_if_absent = lambda key, data: (seen.append(key), stored(key, data))[1]
    large(bucket)
    assert invocation(bucket, Echo(), LARGE).receive(ObjectCreated("requests/check/r1.json")) is Outcome.ANSWERED
    assert seen[0].startswith("claims/check/.reading-")
    assert [info.key for info in bucket.list("claims/")] == ["claims/check/r1/000001.json"]


def test_a_manifest_that_ended_three_readers_is_refused_unread():
    bucket = MemoryBucket()
    text = large(bucket)
    name = f".reading-{hashlib.sha256(text).hexdigest()[:12]}"
    for turn in range(3):
        claims = Claims(bucket, "check", LARGE.lease, f"dead{turn}")
        until(lambda claims=claims: isinstance(claims.acquire(name, "k", "s"), HeldClaim), 5)
    function = Echo()
    invoked = invocation(bucket, function, LARGE)
    created = ObjectCreated("requests/check/r1.json")
    until(lambda: invoked.receive(created) is Outcome.ANSWERED, 5)
    assert function.runs == []
    told = answer(bucket, invalid_id(hashlib.sha256(text).hexdigest()))
    assert told["data"]["error"]["type"] == "InvalidManifest"
    assert "3 attempts ended" in told["message"]


def test_a_manifest_that_another_worker_reads_is_left_to_it():
    bucket = MemoryBucket()
    name = f".reading-{hashlib.sha256(large(bucket)).hexdigest()[:12]}"
    other = Claims(bucket, "check", LARGE.lease, "other")
    assert not isinstance(other.acquire(name, "k", "s"), ClaimBusy)
    assert invocation(bucket, Echo(), LARGE).receive(ObjectCreated("requests/check/r1.json")) is Outcome.BUSY


def test_an_id_under_which_unreadable_manifests_are_answered_is_nobodys():
    bucket, bad = MemoryBucket(), b'{"request_id": '
    digest = hashlib.sha256(bad).hexdigest()
    invoked = invocation(bucket, Echo())
    drop(bucket, "evil")
    bucket.put("requests/check/evil.json", json.dumps({"request_id": invalid_id(digest)}).encode())
    invoked.receive(ObjectCreated("requests/check/evil.json"))
    bucket.put("requests/check/bad.json", bad)
    assert invoked.receive(ObjectCreated("requests/check/bad.json")) is Outcome.ANSWERED
    assert answer(bucket, invalid_id(digest))["data"]["manifest"] == "requests/check/bad.json"


class Sleepy(FolderBucket):
    """A bucket that does not answer the beating thread until it is woken."""

    def __init__(self, root):
        super().__init__(root)
        self.awake = threading.Event()

    def head(self, key):
        if threading.current_thread().name.startswith("heartbeat"):
            self.awake.wait(20)
        return super().head(key)


def test_a_worker_that_wakes_up_writes_nothing_beside_the_answer_of_another(tmp_path):
    bucket, sleepy = FolderBucket(tmp_path), Sleepy(tmp_path)
    drop(bucket)
    other = invocation(bucket, Echo(), owner="w2")
    written = []

    def oversleep(body, workspace):
        until(lambda: other.receive(ObjectCreated("requests/check/r1.json")) is Outcome.ANSWERED)
        written.append(workspace.save("late.txt", b"late"))

    thread = threading.Thread(
        target=invocation(sleepy, Echo(oversleep)).receive, args=(ObjectCreated("requests/check/r1.json"),)
    )
    thread.start()
    until(lambda: bucket.head(RESULT))
    sleepy.awake.set()
    thread.join()
    assert written == [], "it learned that it is late before it wrote, not at its next beat"
    assert [info.key for info in bucket.list("results/")] == ["results/check/r1/a2/echo.txt", RESULT]


class DiesBeforeTheAnswer(FolderBucket):
    def put_if_absent(self, key, data):
        if key.endswith("result.json"):
            raise SystemExit("killed")
        return super().put_if_absent(key, data)


def half_refused(folder) -> str:
    """Leave what a worker leaves that dies before it has refused half a manifest; returns the id."""
    bucket = DiesBeforeTheAnswer(folder)
    bucket.put("requests/check/r1.json", b'{"request_id": ')
    with pytest.raises(SystemExit):
        invocation(bucket, Echo(), hooks=[delivery(bucket)]).receive(ObjectCreated("requests/check/r1.json"))
    (left,) = bucket.list("progress/")
    return left.key.removeprefix("progress/check/").removesuffix(".json")


def delivery(bucket) -> Delivery:
    return Delivery(Outbox(bucket, []), 1.0)


def test_a_refusal_that_was_announced_for_half_a_manifest_is_withdrawn(tmp_path):
    identity = half_refused(tmp_path)
    bucket = FolderBucket(tmp_path)
    invoked = invocation(bucket, Echo(), owner="w2", hooks=[delivery(bucket)])
    assert invoked.receive(drop(bucket)) is Outcome.ANSWERED, "its writer was not done"
    invoked.tidy()
    assert bucket.head(keys.outbox("check", identity)), "whoever refuses it may only be slow"
    time.sleep(2.1 * QUICK.lease.seconds)
    invoked.tidy()
    assert list(bucket.list("progress/")) == []
    assert bucket.head(keys.outbox("check", identity)) is None


def test_who_refuses_late_has_its_event_noted_again(tmp_path):
    noted = []

    class Slow(FolderBucket):
        def put_if_absent(self, key, data):
            if key.endswith("result.json"):
                for info in list(self.list("outbox/")):
                    self.delete(info.key)
            return super().put_if_absent(key, data)

    class Telling(Delivery):
        def committed(self, function, event, envelope):
            noted.extend(info.key for info in self._outbox.bucket.list("outbox/"))

    bucket = Slow(tmp_path)
    bucket.put("requests/check/r1.json", b"no json")
    telling = Telling(Outbox(bucket, []), 1.0)
    invocation(bucket, Echo(), hooks=[telling]).receive(ObjectCreated("requests/check/r1.json"))
    assert len(noted) == 1


def test_a_claim_that_a_full_disk_kept_open_is_closed_when_there_is_room_again():
    class Full(MemoryBucket):
        full = False

        def put(self, key, data):
            if self.full:
                raise BucketError("the disk is full")
            super().put(key, data)

    bucket = Full()
    created = drop(bucket)

    def fill(body, workspace):
        bucket.full = True
        workspace.save("more.txt", b"more")

    invoked = invocation(bucket, Echo(fill))
    with pytest.raises(BucketError, match="full"):
        invoked.receive(created)
    claims = Claims(bucket, "check", QUICK.lease, "w2")
    assert not claims.all("r1")[0].released
    bucket.full = False
    invoked.tidy()
    assert claims.all("r1")[0].released
    assert isinstance(claims.acquire("r1", "k", "s"), HeldClaim), "at once, and nobody counts as dead"


def test_scratch_of_an_answer_without_artifacts_goes_although_its_worker_died_beside_it():
    bucket = MemoryBucket()
    bucket.put("results/check/r1/a1/scratch/step", b"a step")
    bucket.put("results/check/r1/a1/kept.txt", b"perhaps the answer's")
    bucket.put(RESULT, b'{"request_id": "r1", "code": "OK", "message": "success", "data": {"artifact": 0}}')
    bucket.put("progress/check/r1.json", b"{}")
    invocation(bucket, Echo()).tidy()
    assert [info.key for info in bucket.list("results/")] == ["results/check/r1/a1/kept.txt", RESULT]


def test_who_stands_in_for_a_function_leaves_it_to_point_to_an_answer(monkeypatch):
    """The dead letters' worker completed a training whose worker had died after its commit: an older model served."""
    bucket, letters = MemoryBucket(), DeadLetterFunction("check", Settings())
    configure = {"configure": {"user_id": "u"}}
    assert invocation(bucket, Echo()).receive(drop(bucket, "old", **configure)) is Outcome.ANSWERED

    made, worker = drop(bucket, "new", **configure), invocation(bucket, Echo())
    monkeypatch.setattr(Pointers, "swap", lambda *arguments: sys.exit("killed"))
    with pytest.raises(SystemExit):
        worker.receive(made)
    monkeypatch.undo()
    assert "/old/" in decode(bucket.get("users/u/model.json"))["artifact"]
    for _ in range(2):
        assert invocation(bucket, letters, owner="letters").receive(made) is Outcome.ALREADY
        invocation(bucket, letters, owner="letters").tidy()
    invocation(bucket, Echo(), owner="next").tidy()
    assert "/new/" in decode(bucket.get("users/u/model.json"))["artifact"]
    assert list(bucket.list(keys.PROGRESS)) == []
