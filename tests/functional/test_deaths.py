"""Workers that die at one exact moment: the next worker completes what is left of their work."""

import json

import pytest

from shared.buckets import BucketError, MemoryBucket
from shared.errors import InvalidField
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.notify.bucket import BucketNotifier
from shared.observability.failing_keys import Failures, failure_key
from tests.echo import QUICK, Echo, invocation

RESULT, PROGRESS = "results/check/r/result.json", "progress/check/r.json"


class Died(BaseException):
    """A kill -9 in the middle of a call."""


class Deadly(MemoryBucket):
    """Dies before one call of a method for keys with a prefix; refuses puts of keys that begin with `refused`."""

    def __init__(self, method: str, begin: str, count: int = 1, refused: str = "-") -> None:
        super().__init__()
        self.method, self.begin, self.left, self.refused = method, begin, count, refused

    def put(self, key, data):
        if key.startswith(self.refused):
            raise BucketError("no room")
        super().put(key, data)

    def put_if_absent(self, key, data):
        self._call("put_if_absent", key)
        return super().put_if_absent(key, data)

    def delete(self, key):
        self._call("delete", key)
        super().delete(key)

    def _call(self, method, key):
        if method == self.method and key.startswith(self.begin):
            self.left -= 1
            if self.left == 0:
                raise Died


def drop(bucket) -> ObjectCreated:
    bucket.put("requests/check/r.json", json.dumps({"request_id": "r"}).encode())
    return ObjectCreated("requests/check/r.json")


def refuse(body, workspace):
    workspace.save("second.txt", b"second")
    raise InvalidField("no", "x")


def test_a_worker_that_dies_while_it_clears_leaves_no_artifacts():
    bucket = Deadly("delete", "results/", count=2)
    created = drop(bucket)
    with pytest.raises(Died):
        invocation(bucket, Echo(refuse)).receive(created)
    assert len(list(bucket.list("results/check/r/a1/"))) == 1, "one of two"
    assert invocation(bucket, Echo(), owner="w2").receive(created) is Outcome.ALREADY
    assert [info.key for info in bucket.list("results/")] == [RESULT]


def test_what_the_answer_names_stays_when_others_end_the_work_of_a_dead_worker():
    bucket = Deadly("delete", "progress/")
    created = drop(bucket)
    bucket.put("results/check/r/a7/late.txt", b"of an attempt that lost")
    with pytest.raises(Died):
        invocation(bucket, Echo()).receive(created)
    assert invocation(bucket, Echo(), owner="w2").receive(created) is Outcome.ALREADY
    assert [info.key for info in bucket.list("results/")] == ["results/check/r/a1/echo.txt", RESULT]


def test_consumers_are_told_even_if_no_progress_could_be_written_before_the_answer():
    bucket = Deadly("put_if_absent", "notifications/", refused="progress/")
    created = drop(bucket)

    def make_room(body, workspace):
        bucket.refused = "-"

    with pytest.raises(Died):
        _notified(bucket, Echo(make_room), "w1").receive(created)
    assert bucket.head(RESULT), "answered"
    assert list(bucket.list("notifications/")) == []
    assert _notified(bucket, Echo(), "w2").receive(created) is Outcome.ALREADY
    assert len(list(bucket.list("notifications/"))) == 1
    assert bucket.head(PROGRESS) is None


def test_a_key_that_failed_for_a_dead_worker_is_no_longer_shown_once_it_is_settled():
    bucket = MemoryBucket()
    Failures(bucket, "check", "requests/check/").add("requests/check/r.json", BucketError("no room"))
    after = Failures(bucket, "check", "requests/check/")
    after.adopt()
    assert bucket.head(failure_key("check", "requests/check/r.json")), "it may fail still"
    after.remove("requests/check/r.json")
    assert list(bucket.list("failing/")) == []


def test_a_key_that_failed_for_a_dead_worker_is_no_longer_shown_when_its_manifest_has_gone():
    bucket = MemoryBucket()
    Failures(bucket, "check", "requests/check/").add("requests/check/r.json", BucketError("no room"))
    bucket.put("failing/check/other.json", b"not ours")
    after = Failures(bucket, "check", "requests/check/")
    after.adopt()
    after.keep(set())
    assert [info.key for info in bucket.list("failing/")] == ["failing/check/other.json"]


def _notified(bucket, function, owner):
    return Invocation(bucket, function, QUICK, owner, Shutdown(1.0), [BucketNotifier(bucket)])


def test_a_progress_that_a_frozen_worker_wrote_after_the_answer_goes_at_the_next_look():
    bucket, function = MemoryBucket(), Echo()
    bucket.put("requests/check/r1.json", b'{"request_id": "r1"}')
    invoked = invocation(bucket, function)
    invoked.receive(ObjectCreated("requests/check/r1.json"))
    for request_id in ("r1", "r2"):
        bucket.put(f"progress/check/{request_id}.json", b"{}")
    bucket.delete("users/u/model.json")
    invoked.tidy()
    assert [info.key for info in bucket.list("progress/")] == ["progress/check/r2.json"], "r2 runs"
    assert bucket.head("users/u/model.json")
