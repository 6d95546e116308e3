"""The next request is made ready while one is worked on, and begun while an answer is being published."""

import json
import threading

import pytest

from shared.buckets import BucketError, MemoryBucket, StoreUnavailable
from shared.buckets.aws_clients import S3Settings, SqsSettings
from shared.buckets.s3 import S3Bucket
from shared.contract.function import Answer, DeviceBroken
from shared.errors import PhotoUnavailable
from shared.events import ObjectCreated, put_event
from shared.lifecycle.device_turn import DeviceTurn
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.recheck import NoLongerWanted
from shared.lifecycle.shutdown import Shutdown
from shared.runtime.eviction import Eviction
from shared.settings import Scan
from shared.triggers import lanes
from shared.triggers.scan import ScanTrigger
from shared.triggers.sqs import SqsTrigger
from shared.triggers.sqs_queue import SqsQueue
from tests.cloud import REGION
from tests.echo import QUICK, Echo, invocation, until

SOON = 1.0  # seconds that a request says it still takes


class QueuedRequests:
    """A bucket and a queue with requests that name a photo each, and a worker on them in a thread."""

    def __init__(self, cloud, count: int) -> None:
        self.bucket = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION))
        self.cloud, self.url, self.stop = cloud, cloud.queue(), threading.Event()
        settings = SqsSettings(endpoint=cloud.endpoint, wait_seconds=0, visibility_seconds=30)
        self.queue = SqsQueue(self.url, settings, S3Settings(region=REGION))
        self.read: list[str] = []
        self.bucket._client.meta.events.register("before-send.s3.GetObject", self._note)
        for number in range(1, count + 1):
            self.bucket.put(f"photos/{number}.jpg", b"photo %d" % number)
            key = f"requests/check/r{number}.json"
            self.bucket.put(key, json.dumps({"request_id": f"r{number}", "images": [f"photos/{number}.jpg"]}).encode())
            info = self.bucket.head(key)
            assert info is not None
            self.queue.send(json.dumps(put_event(self.bucket.name, info)))

    def _note(self, request, **context):
        self.read.append(request.url.rpartition("photos/")[2])

    def serve(self, function: Echo) -> threading.Thread:
        turn = DeviceTurn()
        invoked = Invocation(self.bucket, function, QUICK, "w1", Shutdown(0.2), [turn])
        trigger = SqsTrigger(self.queue, self.bucket, "check", QUICK.lease, turn=turn, until_empty=True)
        trigger.prepare_with(invoked.prepare)
        thread = threading.Thread(target=trigger.run, args=(invoked.receive, self.stop))
        thread.start()
        return thread

    def answers(self) -> list[str]:
        return sorted(name for name in self.bucket.folders("results/check/"))


def test_the_next_messages_photo_is_fetched_while_one_works_and_it_is_claimed_only_when_begun(cloud):
    queued = QueuedRequests(cloud, 2)
    claimed_early, photos = [], []

    def work(body, workspace):
        other = {"r1": "2.jpg", "r2": "1.jpg"}[body["request_id"]]
        if not photos:
            workspace.progress("work", 0, 1, SOON)
            until(lambda: other in queued.read)
            claimed_early.extend(info.key for info in queued.bucket.list(f"claims/check/r{other[0]}/"))
        photos.extend(workspace.fetch(body["images"]))

    queued.serve(Echo(work)).join(60)
    assert claimed_early == []
    assert sorted(photos) == [b"photo 1", b"photo 2"]
    assert queued.answers() == ["r1", "r2"]
    assert sorted(one for one in queued.read if one.endswith(".jpg")) == ["1.jpg", "2.jpg"], "each was fetched once"
    assert cloud.counts(queued.url) == (0, 0)


def test_a_message_that_was_made_ready_is_given_back_by_a_worker_that_stops(cloud):
    queued = QueuedRequests(cloud, 2)

    def work(body, workspace):
        workspace.progress("work", 0, 1, SOON)
        until(lambda: cloud.counts(queued.url) == (0, 2))
        queued.stop.set()

    queued.serve(Echo(work)).join(60)
    assert len(queued.answers()) == 1, "the running request was finished"
    assert cloud.counts(queued.url) == (1, 0), "the other one waits for the next worker, and at once"
    waiting = queued.queue.receive()
    assert waiting is not None
    assert waiting.receives == 1, "however many workers stop, it does not become a dead letter"
    assert len(list(queued.bucket.list("claims/"))) == 1


def test_a_request_that_says_nothing_of_its_end_keeps_no_other_message_from_free_workers(cloud, monkeypatch):
    monkeypatch.setattr(lanes, "POLL_SECONDS", 0.01)
    queued = QueuedRequests(cloud, 2)
    held = []

    def work(body, workspace):
        if not held:
            workspace.progress("work", 0, 1, 100 * lanes.LEAD_SECONDS)
            threading.Event().wait(0.3)
            held.append(cloud.counts(queued.url))

    queued.serve(Echo(work)).join(60)
    assert held == [(1, 1)]
    assert queued.answers() == ["r1", "r2"]


class SlowAnswers(MemoryBucket):
    """Writes the answer of r1 when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.waits = threading.Event(), threading.Event()

    def put_if_absent(self, key, data):
        if key == "results/check/r1/result.json":
            self.waits.set()
            assert self.go.wait(20)
        return super().put_if_absent(key, data)


def scan_with_turn(bucket, function, stop=None) -> None:
    turn = DeviceTurn()
    invoked = Invocation(bucket, function, QUICK, "w1", Shutdown(0.2), [turn])
    trigger = ScanTrigger(bucket, "check", Scan(seconds=10), turn=turn)
    trigger.prepare_with(invoked.prepare)
    trigger.scan(invoked.receive, stop or threading.Event())


def test_the_next_request_begins_while_an_answer_is_being_written_and_both_are_answered_once():
    bucket, together = SlowAnswers(), []
    for name in ("r1", "r2"):
        bucket.put(f"requests/check/{name}.json", json.dumps({"request_id": name}).encode())

    def work(body, workspace):
        if body["request_id"] == "r2":
            together.append(bucket.waits.wait(20) and bucket.head("results/check/r1/result.json") is None)
            bucket.go.set()

    function = Echo(work)
    scan_with_turn(bucket, function)
    assert together == [True]
    assert function.runs == ["r1", "r2"]
    assert [name for name in ("r1", "r2") if bucket.head(f"results/check/{name}/result.json")] == ["r1", "r2"]
    assert list(bucket.list("progress/")) == []


def test_a_broken_device_ends_the_worker_before_the_next_request_is_claimed():
    bucket = MemoryBucket()
    for name in ("r1", "r2"):
        bucket.put(f"requests/check/{name}.json", json.dumps({"request_id": name}).encode())

    def work(body, workspace):
        workspace.progress("work", 0, 1, SOON)
        threading.Event().wait(0.2)  # in which the other request is made ready
        raise DeviceBroken("no GPU any more")

    function = Echo(work)
    with pytest.raises(DeviceBroken):
        scan_with_turn(bucket, function)
    assert function.runs == ["r1"]
    assert list(bucket.list("claims/check/r2/")) == []


def test_a_turn_that_comes_when_the_worker_was_just_asked_to_stop_is_not_taken(monkeypatch):
    monkeypatch.setattr("shared.lifecycle.device_turn.STOP_POLL", 20.0)
    turn, stop, taken = DeviceTurn(), threading.Event(), []
    assert turn.take(stop)
    waiting = threading.Thread(target=lambda: taken.append(turn.take(stop)))
    waiting.start()
    threading.Event().wait(0.05)  # in which it begins to wait
    stop.set()
    turn.give_back()
    waiting.join()
    assert taken == [False]
    assert not turn.taken


def made_ready(bucket, name):
    """A worker that has made a request with a photo ready, what it finds of photos later, and the object's event."""
    photos = []
    function = Echo(lambda body, workspace: photos.extend(workspace.fetch(body["images"])))
    invoked, created = invocation(bucket, function), drop_request(bucket, name)
    invoked.prepare(created)
    return invoked, photos, created


def drop_request(bucket, name):
    key = f"requests/check/{name}.json"
    bucket.put(key, json.dumps({"request_id": name, "images": ["photos/1.jpg"]}).encode())
    return ObjectCreated(key)


def test_a_photo_that_was_fetched_ahead_for_a_request_that_another_worker_served_is_read_again_for_the_next():
    bucket = MemoryBucket()
    bucket.put("photos/1.jpg", b"old")
    invoked, photos, created = made_ready(bucket, "r1")
    assert invocation(bucket, Echo(), owner="w2").receive(created) is Outcome.ANSWERED
    bucket.put("photos/1.jpg", b"new")
    assert invoked.receive(drop_request(bucket, "r2")) is Outcome.ANSWERED
    assert photos == [b"new"]


def test_a_photo_that_was_erased_after_it_was_fetched_ahead_is_gone_with_the_next_tidying():
    bucket = MemoryBucket()
    bucket.put("photos/1.jpg", b"photo")
    invoked, photos, created = made_ready(bucket, "r1")
    bucket.delete("photos/1.jpg")
    invoked.tidy()
    assert invoked.receive(created) is Outcome.ANSWERED
    assert [type(one) for one in photos] == [PhotoUnavailable]


def test_a_request_that_cannot_be_made_ready_for_whatever_reason_is_served_and_the_worker_lives(monkeypatch):
    def fail(self, request, body):
        failed.append(request)
        raise RuntimeError("unforeseen")

    bucket, failed = MemoryBucket(), []
    monkeypatch.setattr("shared.lifecycle.prefetched_photos.PrefetchedPhotos.prefetch", fail)
    for name in ("r1", "r2"):
        drop_request(bucket, name)

    def work(body, workspace):
        if body["request_id"] == "r1":
            workspace.progress("work", 0, 1, SOON)
            until(lambda: failed)

    function = Echo(work)
    scan_with_turn(bucket, function)
    assert function.runs == ["r1", "r2"]


class Refusing(MemoryBucket):
    """Lets nobody claim r1."""

    def put_if_absent(self, key, data):
        if key.startswith("claims/check/r1/"):
            raise BucketError("access denied")
        return super().put_if_absent(key, data)


def test_a_key_that_fails_is_shown_while_other_requests_still_run():
    """Else it would be shown hours later, by when another worker may have answered it."""
    bucket, shown = Refusing(), []
    for name in ("r1", "r2"):
        drop_request(bucket, name)

    def work(body, workspace):
        until(lambda: list(bucket.list("failing/check/")))
        shown.append(body["request_id"])

    scan_with_turn(bucket, Echo(work))
    assert shown == ["r2"]


def test_tidying_waits_for_all_requests_and_is_not_put_off_for_ever_by_the_next_ones(monkeypatch):
    monkeypatch.setattr("shared.runtime.eviction.EVICT_SECONDS", 0.01)
    stop, tidied, begun = threading.Event(), threading.Event(), threading.Event()
    eviction = Eviction(stop)
    eviction.before_request()
    eviction.before_request()
    eviction.start(tidied.set)

    def begin_another():
        eviction.before_request()
        assert tidied.is_set(), "tidying was due first"
        begun.set()

    until(lambda: eviction._tidying)
    another = threading.Thread(target=begin_another)
    another.start()
    eviction.after_request()
    assert not tidied.wait(0.05)
    assert not begun.is_set()
    eviction.after_request()
    assert begun.wait(20)
    stop.set()
    eviction.after_request()
    another.join()


def forget_and_ask_again(bucket, created):
    """What erasure leaves of a request, and then the same request once more."""
    text = bucket.get(created.key)
    for info in list(bucket.list("")):
        bucket.delete(info.key)
    bucket.put(created.key, text)


@pytest.mark.parametrize("delivered_again", [True, False])
def test_a_photo_that_was_fetched_ahead_is_not_given_to_the_same_request_sent_again_after_it_was_erased(
    delivered_again,
):
    bucket = MemoryBucket()
    bucket.put("photos/1.jpg", b"photo")
    invoked, photos, created = made_ready(bucket, "r1")
    forget_and_ask_again(bucket, created)
    assert invoked.receive(ObjectCreated(created.key) if delivered_again else created) is Outcome.ANSWERED
    assert [type(one) for one in photos] == [PhotoUnavailable]
    assert len(list(bucket.list("claims/check/r1/"))) == 1


class LooksUp(Echo):
    """Looks up an object when its request is made ready, and again in its work."""

    def prepare(self, body, workspace):
        self.look(workspace)

    def look(self, workspace):
        return workspace.size("model"), workspace.read("model"), workspace.etag("lora"), workspace.read("none")


class Counted(MemoryBucket):
    """Counts the calls for the objects that are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key, largest=None):
        self.asked += [f"get {key}"] if "/" not in key else []
        return super().get(key, largest)

    def head(self, key):
        self.asked += [f"head {key}"] if "/" not in key else []
        return super().head(key)


def test_what_a_function_looked_up_ahead_is_given_to_its_request_once_and_to_no_other():
    bucket, found = Counted(), []
    bucket.put("model", b"old")
    bucket.put("lora", b"weights")
    function = LooksUp(lambda body, workspace: found.append(function.look(workspace)))
    invoked, created, other = invocation(bucket, function), drop_request(bucket, "r1"), drop_request(bucket, "r2")
    invoked.prepare(created)
    etag = bucket.head("lora").etag
    bucket.asked.clear()
    bucket.put("model", b"newer")
    assert invoked.receive(created) is Outcome.ANSWERED
    assert found == [(3, b"old", etag, None)]
    assert bucket.asked == ["get none"], "what was not there is asked for again"
    invoked.prepare(created)
    assert invoked.receive(other) is Outcome.ANSWERED
    assert found[1] == (5, b"newer", etag, None)


def test_making_a_request_ready_ends_when_its_turn_comes_and_it_is_served_all_the_same():
    bucket, tried = MemoryBucket(), []

    class Slow(Echo):
        def prepare(self, body, workspace):
            while True:
                tried.append(workspace.read("anything"))

    invoked, created = invocation(bucket, Slow()), drop_request(bucket, "r1")
    invoked.prepare(created, lambda: len(tried) > 3)
    assert len(tried) == 4
    assert invoked.receive(created) is Outcome.ANSWERED


class Unsure(MemoryBucket):
    """Tells whether r1 and its answer are there when it is told to, once `held` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.go = False, threading.Event()

    def head(self, key):
        if self.held and key in ("results/check/r1/result.json", "requests/check/r1.json"):
            assert self.go.wait(20)
        return super().head(key)


def test_work_begins_beside_the_question_whether_it_is_still_wanted_and_shows_nothing_before_the_answer():
    bucket, shown = Unsure(), []

    class Working(Echo):
        def answer(self, body, workspace):
            workspace.progress("one", 0, 2)
            shown.append([info.key for info in bucket.list("") if info.key.startswith(("progress/", "results/"))])
            bucket.go.set()
            key = workspace.save("a.txt", b"a")
            workspace.progress("two", 1, 2)
            shown.append([info.key for info in bucket.list("progress/")])
            return Answer({"artifact": key})

    invoked, created = invocation(bucket, Working()), drop_request(bucket, "r1")
    invoked.prepare(created)
    bucket.held = True
    assert invoked.receive(created) is Outcome.ANSWERED
    assert shown == [[], ["progress/check/r1.json"]]
    assert json.loads(bucket.get("results/check/r1/result.json"))["data"]["artifact"] == "results/check/r1/a1/a.txt"


def test_work_on_a_request_that_is_no_longer_wanted_is_stopped_and_leaves_nothing():
    bucket, stopped = Unsure(), []

    class Working(Echo):
        def answer(self, body, workspace):
            bucket.delete("requests/check/r1.json")
            bucket.go.set()
            try:
                workspace.save("a.txt", b"a")
            except NoLongerWanted:
                stopped.append(body["request_id"])
                raise

    invoked, created = invocation(bucket, Working()), drop_request(bucket, "r1")
    invoked.prepare(created)
    bucket.held = True
    assert invoked.receive(created) is Outcome.IGNORED
    assert stopped == ["r1"]
    assert [info.key for info in bucket.list("")] == []


def test_work_whose_store_does_not_say_whether_it_is_wanted_is_handed_back_with_the_stores_error():
    bucket = Unsure()

    class Working(Echo):
        def answer(self, body, workspace):
            bucket.go.set()
            return super().answer(body, workspace)

    invoked, created = invocation(bucket, Working()), drop_request(bucket, "r1")
    invoked.prepare(created)
    asked = bucket.head

    def fail(key):
        if bucket.held and key == "results/check/r1/result.json":
            raise StoreUnavailable("away")
        return asked(key)

    bucket.held, bucket.head = True, fail
    with pytest.raises(StoreUnavailable, match="away"):
        invoked.receive(created)
    assert json.loads(bucket.get("claims/check/r1/000001.json"))["released"]
    bucket.held = False
    assert invoked.receive(created) is Outcome.ANSWERED
