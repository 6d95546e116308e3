"""Hooks around a request, and when they are called."""

import threading
import time

import pytest

from shared.buckets import BucketError, MemoryBucket
from shared.contract.hooks import Attempt, AttemptHook, Hooks, Progress
from shared.events import ObjectCreated
from shared.lifecycle.claims import ClaimBusy, Claims, HeldClaim
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.pulse import Pulse
from shared.lifecycle.shutdown import HandedBack
from tests.echo import QUICK, Echo, invocation, until

CREATED = ObjectCreated("requests/check/r1.json")
STAGES = [name for name, one in vars(AttemptHook).items() if callable(one)]


class Record(AttemptHook):
    """Records the name of each stage that is called."""

    def __init__(self, seen: list[str] | None = None, name: str = "") -> None:
        self.seen: list[str] = [] if seen is None else seen
        self._name = name

    def _keep(self, stage: str) -> None:
        self.seen.append(self._name + stage)

    def before_request(self):
        self._keep("before_request")

    def after_request(self):
        self._keep("after_request")

    def before(self, attempt):
        self._keep(f"before {attempt.request_id} {attempt.number}")

    def progressed(self, attempt, progress):
        self._keep(f"progressed {progress.stage}")

    def finished(self, attempt):
        self._keep("finished")

    def committing(self, function, request_id):
        self._keep(f"committing {function} {request_id}")

    def committed(self, function, event, envelope):
        self._keep(f"committed {event['subject']}")

    def after(self, attempt, envelope):
        self._keep(f"after {envelope['code']}")

    def failed(self, attempt, reason):
        self._keep(f"failed {reason}")

    def refused(self, error_type):
        self._keep(f"refused {error_type}")


@pytest.fixture
def bucket() -> MemoryBucket:
    bucket = MemoryBucket()
    bucket.put(CREATED.key, b'{"request_id": "r1"}')
    return bucket


def test_a_request_that_is_answered_goes_through_each_stage_in_turn(bucket):
    hook = Record()
    assert invocation(bucket, Echo(), hooks=[hook]).receive(CREATED) is Outcome.ANSWERED
    assert hook.seen == [
        "before_request",
        "before r1 1",
        "progressed start",
        "finished",
        "committing check r1",
        "committed r1",
        "after OK",
        "after_request",
    ]


def test_what_needs_no_attempt_has_none(bucket):
    hook = Record()
    invoked = invocation(bucket, Echo(), hooks=[hook])
    assert invoked.receive(ObjectCreated("requests/check/none.json")) is Outcome.IGNORED
    assert hook.seen == ["before_request", "after_request"]
    bucket.put("requests/check/bad.json", b"no json")
    invoked.receive(ObjectCreated("requests/check/bad.json"))
    assert "refused InvalidManifest" in hook.seen
    assert not [stage for stage in hook.seen if stage.startswith(("before r", "after O", "failed"))]


def test_a_hook_may_stop_the_work_and_hears_of_it_while_the_claim_is_its_workers(bucket):
    other = Claims(bucket, "check", QUICK.lease, "w2")

    class Closing(Record):
        def check(self, attempt):
            if "finished" not in self.seen and "progressed start" in self.seen:
                raise HandedBack("the shop closes")

        def failed(self, attempt, reason):
            super().failed(attempt, reason)
            assert isinstance(other.acquire("r1", CREATED.key, "s"), ClaimBusy)

    hook = Closing()
    assert invocation(bucket, Echo(), hooks=[hook]).receive(CREATED) is Outcome.HANDED_BACK
    assert hook.seen == ["before_request", "before r1 1", "progressed start", "failed handed back", "after_request"]
    assert isinstance(other.acquire("r1", CREATED.key, "s"), HeldClaim)


def test_a_store_that_fails_a_hook_at_the_start_leaves_the_claim_to_anybody(bucket):
    class Away(Record):
        def before(self, attempt):
            raise BucketError("away")

    function = Echo()
    with pytest.raises(BucketError, match="away"):
        invocation(bucket, function, hooks=[hook := Away()]).receive(CREATED)
    assert hook.seen == ["before_request", "failed store failed", "after_request"]
    assert invocation(bucket, function, owner="w2").receive(CREATED) is Outcome.ANSWERED
    assert function.runs == ["r1"]


def test_hooks_are_left_in_the_reverse_order_and_only_if_they_were_entered():
    seen: list[str] = []

    class Refusing(Record):
        def before_request(self):
            raise OSError("full")

    class Leaving(Record):
        def after_request(self):
            super().after_request()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        Hooks([Record(seen, "a "), Refusing(seen, "b "), Record(seen, "c ")]).before_request()
    assert seen == ["a before_request", "a after_request"]
    seen.clear()
    both = Hooks([Record(seen, "a "), Leaving(seen, "b ")])
    both.before_request()
    with pytest.raises(OSError, match="full"):
        both.after_request()
    assert seen == ["a before_request", "b before_request", "b after_request", "a after_request"]


def test_a_hook_beats_beside_work_that_says_nothing_and_never_after_it(bucket):
    threads: list[str] = []

    class Beating(AttemptHook):
        def beat_after(self):
            return 0.01

        def beat(self):
            threads.append(threading.current_thread().name)
            return True

    silent = Echo(lambda body, workspace: until(lambda: len(threads) >= 3))
    assert invocation(bucket, silent, hooks=[Beating()]).receive(CREATED) is Outcome.ANSWERED
    assert set(threads) == {"heartbeat r1"}
    beats = len(threads)
    time.sleep(0.05)
    assert len(threads) == beats


def test_who_has_lost_the_claim_beats_no_more_and_hooks_behind_it_neither():
    beats: list[str] = []

    class Beating(AttemptHook):
        def __init__(self, name, ends):
            self.name, self.ends = name, ends

        def beat_after(self):
            return 0.005

        def beat(self):
            beats.append(self.name)
            return not self.ends

    with Pulse("test", Hooks([Beating("first", False), Beating("last", True), Beating("behind", False)])):
        until(lambda: beats)
        time.sleep(0.05)
    assert beats == ["first", "last"]


@pytest.mark.parametrize("stage", STAGES)
def test_hooks_as_one_pass_every_stage_on(stage):
    called = []

    class Told(AttemptHook):
        def __getattribute__(self, name):
            if name in STAGES:
                called.append(name)
            return super().__getattribute__(name)

    attempt = Attempt("check", "r1", 1)
    arguments = {
        "before": [attempt],
        "admit": [attempt],
        "check": [attempt],
        "progressed": [attempt, Progress("start", 0, 1)],
        "finished": [attempt],
        "after": [attempt, {}],
        "failed": [attempt, "handed back"],
        "committing": ["check", "r1"],
        "committed": ["check", {}, {}],
        "withdrawn": ["check", "r1"],
        "refused": ["InvalidManifest"],
    }
    getattr(Hooks([Hooks([Told()])]), stage)(*arguments.get(stage, []))
    assert stage in called
