"""Damaged, forged or inflated objects of photog's: each affects its own key, and nothing else."""

import json
import threading

import pytest

from shared.buckets import BucketError, FolderBucket, MemoryBucket
from shared.contract import keys
from shared.events import ObjectCreated
from shared.lifecycle.claims import Claims, HeldClaim
from shared.lifecycle.invocation import Outcome
from shared.notify.bucket import BucketNotifier
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.observability.failing_keys import Failures
from shared.operations.status import overview
from shared.runtime import eviction
from shared.settings import Limits, Scan
from shared.triggers.scan import ScanTrigger
from shared.triggers.settled_index import index_key
from tests.echo import QUICK, Echo, invocation, until

STOP = threading.Event()
DEEP = b"[" * 100_000
GARBAGE = [b"", b"x", b"[]", b"{}", DEEP, b'{"committed": 1' + b"0" * 400 + b"}", b'{"committed": NaN}', b"\xff"]


def drop(bucket, request_id, **more) -> ObjectCreated:
    key = f"requests/check/{request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id} | more).encode())
    return ObjectCreated(key)


def answered(bucket, request_id) -> bool:
    return bucket.head(f"results/check/{request_id}/result.json") is not None


@pytest.mark.parametrize(
    "name", ["999999999.json", "999999.json", "020000000.json", "000007.json", "-1.json", "x.json"]
)
def test_a_forged_claim_with_a_number_of_its_own_counts_for_nothing(name):
    bucket = MemoryBucket()
    bucket.put(f"claims/check/r1/{name}", b"x")
    assert invocation(bucket, Echo()).receive(drop(bucket, "r1")) is Outcome.ANSWERED
    assert bucket.head("results/check/r1/a1/echo.txt")


@pytest.mark.parametrize("started", [float("nan"), float("inf")])
def test_a_claim_that_is_never_equal_to_itself_runs_out_like_any_other(started):
    bucket = MemoryBucket()
    created = drop(bucket, "r1")
    claim = Claims(bucket, "check", QUICK.lease, "forger").acquire("r1", created.key, "")
    assert isinstance(claim, HeldClaim)
    body = json.loads(claim.record.model_dump_json()) | {"started": started}
    bucket.put("claims/check/r1/000001.json", json.dumps(body).encode())
    invoked = invocation(bucket, Echo())
    until(lambda: invoked.receive(created) is Outcome.ANSWERED, 10)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_every_place_of_ours_stops_no_request_at_the_start(garbage):
    bucket = MemoryBucket()
    for key in (
        "failing/check/0000000000000000.json",
        index_key("check"),
        "users/u/model.json",
        "progress/check/r1.json",
    ):
        bucket.put(key, garbage)
    drop(bucket, "r1")
    ScanTrigger(bucket, "check", Scan(seconds=0.05)).scan(invocation(bucket, Echo()).receive, STOP)
    assert answered(bucket, "r1")
    assert json.loads(bucket.get("users/u/model.json"))["artifact"] == "results/check/r1/a1/echo.txt"
    assert overview(bucket, Limits())["check"]["ok"] == ["r1"]


def test_what_is_larger_than_anything_of_ours_is_not_read(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    giants = ["failing/check/0.json", index_key("check"), "users/u/model.json", "claims/check/r1/000001.json"]
    for key in giants:
        path = bucket.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(20 << 30)  # sparse: it has no bytes on the disk
    for request_id in ("r1", "r2"):
        drop(bucket, request_id)
    trigger, receive = ScanTrigger(bucket, "check", Scan(seconds=0.05)), invocation(bucket, Echo()).receive
    trigger.scan(receive, STOP)
    assert answered(bucket, "r2")
    until(lambda: trigger.scan(receive, STOP) or answered(bucket, "r1"), 10)


class Place:
    name = "place"

    def __init__(self) -> None:
        self.got: list[str] = []

    def send(self, event) -> None:
        self.got.append(event["subject"])


ENTRY = {"function": "check", "request_id": "r1", "pending": ["place"], "failures": {}}
ENTRIES = [
    *GARBAGE,
    json.dumps(ENTRY | {"pending": [["place"]]}).encode(),
    json.dumps(ENTRY | {"failures": {"place": "x"}}).encode(),
    json.dumps(ENTRY | {"request_id": "../../x"}).encode(),
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_damaged_entry_of_the_outbox_is_shown_and_every_other_event_goes_out(entry):
    bucket, place = MemoryBucket(), Place()
    delivery = Delivery(Outbox(bucket, [place]), 0.1)
    bucket.put(keys.outbox("check", "a"), entry)
    delivery.start("check")
    invoked = invocation(bucket, Echo(), hooks=[delivery])
    for number in range(3):
        invoked.receive(drop(bucket, f"r{number}"))
    until(lambda: sorted(place.got) == ["r0", "r1", "r2"], 10)
    until(lambda: overview(bucket, Limits())["check"]["failing"], 10)
    delivery.close()
    assert overview(bucket, Limits())["check"]["failing"][0]["key"] == keys.outbox("check", "a")


def test_an_entry_that_failed_for_a_dead_worker_is_no_longer_shown_once_it_has_gone():
    bucket, place = MemoryBucket(), Place()
    Failures(bucket, "check", "outbox/check/").add(keys.outbox("check", "gone"), ValueError("damaged"))
    delivery = Delivery(Outbox(bucket, [place]), 0.1)
    delivery.start("check")
    until(lambda: not overview(bucket, Limits())["check"]["failing"], 10)
    delivery.close()


@pytest.mark.parametrize("answer", [b"x", b"{}", DEEP])
def test_an_entry_whose_answer_is_damaged_fails_alone(answer):
    bucket, place = MemoryBucket(), Place()
    delivery = Delivery(Outbox(bucket, [place]), 0.1)
    bucket.put(keys.outbox("check", "r9"), json.dumps(ENTRY | {"request_id": "r9"}).encode())
    bucket.put("results/check/r9/result.json", answer)
    delivery.start("check")
    invocation(bucket, Echo(), hooks=[delivery]).receive(drop(bucket, "r1"))
    until(lambda: place.got == ["r1"], 10)
    delivery.close()


def test_a_worker_that_starts_leaves_the_failing_events_to_those_who_deliver_them():
    bucket = MemoryBucket()
    Failures(bucket, "check", "outbox/check/").add("outbox/check/a.json", ValueError("damaged"))
    drop(bucket, "r1")
    ScanTrigger(bucket, "check", Scan(seconds=0.05)).scan(invocation(bucket, Echo()).receive, STOP)
    assert len(overview(bucket, Limits())["check"]["failing"]) == 1


def test_half_a_surrogate_in_a_python_literal_is_refused_like_one_in_json():
    bucket = MemoryBucket()
    invoked = invocation(bucket, Echo(), hooks=[BucketNotifier(bucket)])
    for text in (b"{'request_id': 'r1', 'x': '\\U0000d800'}", b"{'request_id': 'r1', '\\ud800': 1}"):
        bucket.put("requests/check/a.json", text)
        assert invoked.receive(ObjectCreated("requests/check/a.json")) is Outcome.ANSWERED
    errors = [json.loads(bucket.get(info.key))["data"]["error"] for info in bucket.list("results/check/invalid-")]
    assert errors == [{"type": "InvalidManifest", "retryable": False}] * 2


class Evicting(Echo):
    """Counts how often it was told to drop what is gone."""

    evictions = 0

    def evict(self, exists) -> None:
        self.evictions += 1


ANSWER = {"request_id": "r1", "code": "error", "message": "", "data": {}}
WRONG: list[dict[str, object]] = [{"data": []}, {"code": 1}, {"request_id": 1}]
NO_ANSWERS = [*GARBAGE[1:], *(json.dumps(ANSWER | more).encode() for more in WRONG)]


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_a_damaged_answer_keeps_no_other_from_being_completed_and_nothing_in_memory(answer):
    bucket, function = MemoryBucket(), Evicting()
    for request_id, text in (("r1", answer), ("r2", json.dumps(ANSWER | {"request_id": "r2"}).encode())):
        bucket.put(keys.progress("check", request_id), b"{}")
        bucket.put(keys.result("check", request_id), text)
    invoked = invocation(bucket, function)
    invoked.tidy()
    assert function.evictions == 1
    assert [info.key for info in bucket.list("progress/")] == [keys.progress("check", "r1")]
    [failing] = overview(bucket, Limits())["check"]["failing"]
    assert failing["key"] == keys.progress("check", "r1")
    bucket.delete(keys.result("check", "r1"))
    invocation(bucket, function).tidy()  # another worker, which adopts the record
    assert overview(bucket, Limits())["check"]["failing"] == []


@pytest.mark.parametrize("name", [".json", "..json", "a/b.json", "x y.json", "r1.json/", "\u00e9.json"])
def test_an_object_that_is_nobodys_progress_is_left_alone(name):
    bucket, function = MemoryBucket(), Evicting()
    bucket.put(f"progress/check/{name}".rstrip("/"), b"{}")
    invocation(bucket, function).tidy()
    assert function.evictions == 1


class Clouded(MemoryBucket):
    """A bucket in which one object may not be seen."""

    def head(self, key):
        if key == "users/hidden":
            raise BucketError(f"{key}: access denied")
        return super().head(key)


def test_one_object_that_cannot_be_seen_keeps_none_that_are_gone_in_memory():
    gone = {}
    function = Echo()
    function.evict = lambda exists: gone.update({key: exists(key) for key in ("users/hidden", "users/gone")})
    invocation(Clouded(), function).tidy()
    assert gone == {"users/hidden": True, "users/gone": False}


def test_whatever_goes_wrong_in_tidying_it_is_tried_again(monkeypatch):
    monkeypatch.setattr(eviction, "EVICT_SECONDS", 0.01)
    stop, tries = threading.Event(), []

    def tidy() -> None:
        tries.append(1)
        raise ZeroDivisionError

    eviction.Eviction(stop).start(tidy)
    until(lambda: len(tries) > 2, 10)
    stop.set()
