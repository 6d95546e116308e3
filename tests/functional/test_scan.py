"""A worker that scans a bucket: a failing key stops no other, and old answers cost nothing."""

import hashlib
import json
import threading
from collections import Counter

import pytest

from shared.buckets import BucketError, MemoryBucket, StoreUnavailable
from shared.events import ObjectCreated
from shared.lifecycle import invocation as invoking
from shared.lifecycle import unread
from shared.lifecycle.invocation import Outcome
from shared.operations.status import overview
from shared.settings import Limits, Scan
from shared.triggers import scan, settled_index
from shared.triggers.scan import CHECKED_AT_ONCE, ScanTrigger
from shared.triggers.settled_index import WORTH, index_key
from tests.echo import Echo, invocation, until

SCAN = Scan(seconds=0.05, settle_seconds=0.2)
STOP = threading.Event()


class Faulty(MemoryBucket):
    """A bucket that refuses calls for some keys, and counts the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[tuple[str, str], Exception] = {}
        self.calls: Counter[str] = Counter()

    def get(self, key, largest=None):
        self._call("get", key)
        return super().get(key, largest)

    def put_if_absent(self, key, data):
        self._call("put_if_absent", key)
        return super().put_if_absent(key, data)

    def _call(self, method, key):
        self.calls[method] += 1
        for (refused, begin), error in self.faults.items():
            if refused == method and key.startswith(begin):
                raise error


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drop(bucket, request_id, **more) -> str:
    key = f"requests/check/{request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id} | more).encode())
    return key


def answered(bucket, request_id) -> bool:
    return bucket.head(f"results/check/{request_id}/result.json") is not None


FAULTS = [
    ("get", "requests/check/evil", BucketError("access denied")),
    ("get", "requests/check/evil", PermissionError(13, "not yours")),
    ("put_if_absent", "claims/check/evil/", RuntimeError("a bug")),
    ("put_if_absent", "claims/check/evil/", BucketError("read-only")),
    ("put_if_absent", "results/check/evil/", OSError(30, "read-only")),
]


@pytest.mark.parametrize(("method", "begin", "error"), FAULTS)
def test_a_key_that_fails_stops_no_other_and_is_shown_until_it_is_mended(method, begin, error, monkeypatch):
    monkeypatch.setattr(invoking, "PUBLISHING_SECONDS", 0.2)
    bucket, clock, function = Faulty(), Clock(), Echo()
    bucket.faults[(method, begin)] = error
    trigger, receive = ScanTrigger(bucket, "check", SCAN, clock), invocation(bucket, function).receive
    drop(bucket, "evil")
    drop(bucket, "good1")
    trigger.scan(receive, STOP)
    drop(bucket, "good2")
    clock.now += 0.1
    trigger.scan(receive, STOP)
    assert answered(bucket, "good1")
    assert answered(bucket, "good2")
    assert not answered(bucket, "evil")
    (told,) = overview(bucket, Limits())["check"]["failing"]
    assert told["key"] == "requests/check/evil.json"
    assert str(error) in told["error"]
    bucket.faults.clear()
    for _ in range(5):
        clock.now += 2
        trigger.scan(receive, STOP)
    assert answered(bucket, "evil")
    assert overview(bucket, Limits())["check"]["failing"] == []
    assert trigger.failing == 0


def test_a_failing_key_is_tried_at_growing_pauses():
    bucket, clock = Faulty(), Clock()
    bucket.faults[("get", "requests/check/evil")] = BucketError("access denied")
    trigger, receive = ScanTrigger(bucket, "check", SCAN, clock), invocation(bucket, Echo()).receive
    drop(bucket, "evil")
    for _ in range(1000):
        trigger.scan(receive, STOP)
        clock.now += 0.1
    assert 6 <= bucket.calls["get"] <= 12, "100 s, in which a try each half a second would be 200"


GARBAGE = [b'{"owner":', b"", b"[]", b'{"owner": 1}', b"\xff\xfe", b'{"owner": "a", "attempt": "many"}']


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_a_claim_counts_as_a_worker_that_says_nothing(garbage):
    bucket, clock, function = MemoryBucket(), Clock(), Echo()
    trigger, invoked = ScanTrigger(bucket, "check", SCAN, clock), invocation(bucket, function)
    invoked._claims._clock = clock
    bucket.put("claims/check/r1/000001.json", garbage)
    drop(bucket, "r1")
    drop(bucket, "r2")
    trigger.scan(invoked.receive, STOP)
    assert answered(bucket, "r2")
    assert not answered(bucket, "r1")
    for _ in range(3):
        clock.now += 1
        trigger.scan(invoked.receive, STOP)
    assert answered(bucket, "r1")
    assert bucket.head("claims/check/r1/000002.json")


@pytest.mark.parametrize("garbage", [b'{"no": "committed"}', b"garbage", b"[]", b'{"committed": "late"}'])
def test_a_pointer_without_its_fields_is_written_anew(garbage):
    bucket = MemoryBucket()
    bucket.put("users/u/model.json", garbage)
    trigger = ScanTrigger(bucket, "check", SCAN)
    drop(bucket, "r1")
    trigger.scan(invocation(bucket, Echo()).receive, STOP)
    assert json.loads(bucket.get("users/u/model.json"))["artifact"] == "results/check/r1/a1/echo.txt"


def old_answers(bucket, number: int) -> None:
    worker = invocation(bucket, Echo())
    for index in range(number):
        worker.receive(ObjectCreated(drop(bucket, f"old{index}")))


def test_after_a_start_beside_old_answers_what_is_new_is_served_before_they_are_looked_at():
    bucket = Faulty()
    old_answers(bucket, 200)
    drop(bucket, "new")
    offered: list[str] = []

    def receive(created, written=True):
        offered.append(created.key)
        return invocation(bucket, Echo()).receive(created, written)

    trigger = ScanTrigger(bucket, "check", SCAN)
    trigger.scan(receive, STOP)
    assert offered[0] == "requests/check/new.json"
    assert answered(bucket, "new")
    trigger._listed_at = 0.0
    trigger.scan(receive, STOP)
    assert len(offered) <= 1 + 2 * CHECKED_AT_ONCE, "nor when the whole is listed again"
    while len(offered) < 201:
        trigger._checked_at = 0.0  # the pauses between two handfuls are for the processor
        trigger.scan(receive, STOP)
    assert len(set(offered)) == 201, "the others are looked at too: one may be a conflict"


def test_a_start_looks_at_each_manifest_once_and_at_nothing_else_before_the_first_claim(monkeypatch):
    bucket, marked, strays = Faulty(), Counter(), []
    index, receive = settled_index.SettledIndex(bucket, "check"), invocation(bucket, Echo()).receive
    for number in range(WORTH):
        index.add(bucket.head(drop(bucket, f"old{number}")))
    index.save()
    drop(bucket, "new")
    bucket.put("requests/check/note.txt", b"x")
    for module, mark in ((settled_index, settled_index.mark), (scan, scan.mark)):
        monkeypatch.setattr(module, "mark", lambda info, mark=mark: marked.update([info.key]) or mark(info))
    monkeypatch.setattr(bucket, "find_unlisted", lambda *asked: strays.append(asked) or iter(()))
    monkeypatch.setattr(bucket, "folders", lambda prefix: pytest.fail("answers are listed for one new manifest"))
    trigger = ScanTrigger(bucket, "check", SCAN)

    def first(created, written=True):
        assert created.key == "requests/check/new.json"
        assert sum(marked.values()) <= WORTH + 4
        assert not strays
        return receive(created, written)

    monkeypatch.setattr(unread, "find_unlisted", lambda bucket, function: strays.append(function) or iter(()))
    trigger.prepare(STOP)
    trigger.scan(first, STOP)
    assert answered(bucket, "new")
    assert strays == ["check"], "afterwards"


def test_a_conflict_that_came_while_no_worker_ran_is_told_after_the_start():
    bucket = MemoryBucket()
    old_answers(bucket, 3)
    bucket.put("requests/check/again/old1.json", b'{"request_id": "old1", "x": 2}')
    trigger, receive = ScanTrigger(bucket, "check", SCAN), invocation(bucket, Echo()).receive
    trigger.scan(receive, STOP)
    assert len(list(bucket.list("results/check/old1/conflict-"))) == 1


def test_settled_manifests_are_remembered_beyond_the_process():
    bucket = Faulty()
    old_answers(bucket, WORTH)
    first = ScanTrigger(bucket, "check", SCAN)
    while first._likely or not first._started:
        first._checked_at = 0.0
        first.scan(invocation(bucket, Echo()).receive, STOP)
    first._settled.save()
    assert bucket.head(index_key("check"))
    bucket.calls.clear()
    second = ScanTrigger(bucket, "check", SCAN)
    second.scan(invocation(bucket, Echo()).receive, STOP)
    assert bucket.calls["get"] == 1, "the index, and no manifest"
    drop(bucket, "old1", x=2)
    second._listed_at = 0.0
    second.scan(invocation(bucket, Echo()).receive, STOP)
    assert len(list(bucket.list("results/check/old1/conflict-"))) == 1, "what changes is looked at again"


@pytest.mark.parametrize("index", [b"", b"garbage", b"photog settled 1\nodd", b"photog settled 9\n12345678"])
def test_an_index_that_is_none_changes_nothing(index):
    bucket = MemoryBucket()
    bucket.put(index_key("check"), index)
    drop(bucket, "r1")
    ScanTrigger(bucket, "check", SCAN).scan(invocation(bucket, Echo()).receive, STOP)
    assert answered(bucket, "r1")


def test_an_idle_scan_asks_only_for_what_sorts_behind_the_last_key():
    bucket, clock = MemoryBucket(), Clock()
    asked: list[str] = []
    listed = bucket.list
    bucket.list = lambda prefix, after="": (asked.append(after), listed(prefix, after))[1]
    old_answers(bucket, 5)
    trigger, receive = (
        ScanTrigger(bucket, "check", Scan(seconds=10, settle_seconds=1), clock),
        lambda *_: Outcome.ALREADY,
    )
    asked.clear()
    trigger.scan(receive, STOP)
    assert "" in asked
    asked.clear()
    for _ in range(5):
        clock.now += 1
        trigger.scan(receive, STOP)
    assert asked == ["requests/check/old4.json"] * 5


class Slow(MemoryBucket):
    """A bucket whose listings of everything wait at their first key once `held` is set, until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.reached, self.go_on = False, threading.Event(), threading.Event()

    def list(self, prefix, after=""):
        for info in list(super().list(prefix, after)):
            if self.held and prefix == "requests/check/" and not after:
                self.reached.set()
                assert self.go_on.wait(20)
            yield info


@pytest.fixture
def slow(monkeypatch):
    """Return a bucket, its trigger that has seen more than a page of manifests, and how to scan."""
    monkeypatch.setattr(scan, "PAGE", 3)
    bucket, clock = Slow(), Clock()
    old_answers(bucket, 5)
    trigger, receive = ScanTrigger(bucket, "check", SCAN, clock), invocation(bucket, Echo()).receive

    def look() -> None:
        clock.now += 1
        trigger.scan(receive, STOP)

    for _ in range(3):
        look()
    bucket.held = True
    return bucket, trigger, look


def end_job(trigger) -> None:
    """Wait until what the trigger does beside its loop is done."""
    if trigger._beside.busy:
        until(trigger._beside._made.done)


def test_what_comes_while_all_is_listed_is_served_before_the_listing_ends(slow):
    bucket, trigger, look = slow
    while not bucket.reached.wait(0.1):
        look()
    drop(bucket, "zebra")
    look()
    assert answered(bucket, "zebra")
    bucket.go_on.set()
    until(trigger._beside._made.done)
    drop(bucket, "aardvark")  # sorts before what was listed last, so only another listing of all finds it
    look()
    for _ in range(5):
        end_job(trigger)
        look()
    assert answered(bucket, "aardvark")
    assert not trigger._waiting


def test_a_listing_made_meanwhile_does_not_undo_what_was_seen_since_it_began(slow):
    bucket, trigger, look = slow
    while not bucket.reached.wait(0.1):
        look()
    key = drop(bucket, "zebra")
    trigger._add(list(MemoryBucket.list(bucket, key)))
    bucket.go_on.set()
    until(trigger._beside._made.done)
    trigger._look()
    assert key in trigger._waiting
    look()
    assert answered(bucket, "zebra")


def test_a_store_that_is_away_during_a_listing_made_meanwhile_is_told_and_listed_again(slow):
    bucket, trigger, look = slow
    bucket.held = False
    listed, away = bucket.list, StoreUnavailable("away")

    def fail(prefix, after=""):
        if prefix == "requests/check/" and not after:
            raise away
        return listed(prefix, after)

    bucket.list = fail

    def look_until_told() -> None:
        for _ in range(5):
            end_job(trigger)
            look()

    with pytest.raises(StoreUnavailable):
        look_until_told()
    bucket.list = listed
    drop(bucket, "aardvark")
    for _ in range(5):
        look()
        end_job(trigger)
    assert answered(bucket, "aardvark")


def test_a_half_written_manifest_is_not_refused_because_the_last_listing_is_old():
    bucket, clock = MemoryBucket(), Clock()
    trigger, receive = (
        ScanTrigger(bucket, "check", Scan(seconds=1000, settle_seconds=5), clock),
        invocation(bucket, Echo()).receive,
    )
    bucket.put("requests/check/half.json", b'{"request_id": "ha')
    trigger.scan(receive, STOP)
    drop(bucket, "half")
    clock.now += 10
    trigger.scan(receive, STOP)
    trigger.scan(receive, STOP)
    assert answered(bucket, "half")
    assert [*bucket.folders("results/check/")] == ["half"], "and nothing else was"


class ContentTagged(MemoryBucket):
    """A bucket whose etags are those of the contents, like S3's."""

    def _store(self, key, data):
        super()._store(key, data)
        stored, info = self._objects[key]
        self._objects[key] = stored, info._replace(etag=hashlib.md5(data).hexdigest())


def test_a_request_that_was_erased_and_is_sent_again_as_it_was_is_answered_again():
    bucket, clock = ContentTagged(), Clock()
    trigger, receive = ScanTrigger(bucket, "check", SCAN, clock), invocation(bucket, Echo()).receive

    def look() -> None:
        clock.now += 1
        trigger.scan(receive, STOP)

    look()
    drop(bucket, "r1")
    look()
    assert answered(bucket, "r1")
    for info in list(bucket.list("")):
        bucket.delete(info.key)
    look()
    drop(bucket, "r1")
    look()
    assert answered(bucket, "r1")
