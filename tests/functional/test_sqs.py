"""Requests from a queue: held while they run, deleted when they are answered, never lost in between."""

import itertools
import json
import re
import threading
import time
from pathlib import Path

import pytest

from shared.buckets import BucketError, MemoryBucket, ObjectInfo
from shared.buckets.aws_clients import S3Settings, SqsSettings
from shared.buckets.s3 import S3Bucket
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import canonical_hash
from shared.events import ObjectCreated, put_event
from shared.lifecycle.claims import STALE_LEASES, Claims
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.observations import Observations
from shared.lifecycle.pulse import Pulse
from shared.lifecycle.shutdown import Shutdown
from shared.operations.dead_letters import DeadLetterFunction
from shared.operations.redrive import redrive
from shared.operations.sweep import Sweep
from shared.runtime.job import run_job
from shared.settings import Lease, Settings
from shared.triggers import sqs
from shared.triggers.ecs_task_protection import TaskProtection
from shared.triggers.message_visibility import EXTENSIONS, MessageVisibility
from shared.triggers.sqs import SqsTrigger
from shared.triggers.sqs_queue import ANSWER_SECONDS, LONGEST_HOLD, Message, QueueError, SqsQueue
from tests.cloud import REGION
from tests.echo import QUICK, Echo, until
from tests.receiver import Receiver

S3 = S3Settings(region=REGION)
TEMPLATE = Path(__file__).parents[2] / "deploy/aws/function.yaml"


class AnnouncedBucket:
    """A bucket whose manifests are announced to a queue, and the parts of a worker."""

    def __init__(self, cloud, dead_letters=None, receives=3) -> None:
        self.cloud = cloud
        self.bucket = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION))
        self.url = cloud.queue(dead_letters, receives)
        self.queue = self.connect(self.url)
        self.stop = threading.Event()

    def connect(self, url: str, visibility: int = 30, clock=time.monotonic) -> SqsQueue:
        settings = SqsSettings(endpoint=self.cloud.endpoint, wait_seconds=0, visibility_seconds=visibility)
        return SqsQueue(url, settings, S3, clock)

    def request(self, request_id: str = "r1", **more) -> None:
        """Write a manifest and send its event."""
        key = f"requests/check/{request_id}.json"
        self.bucket.put(key, json.dumps({"request_id": request_id} | more).encode())
        info = self.bucket.head(key)
        assert info is not None
        self.queue.send(json.dumps(put_event(self.bucket.name, info)))

    def trigger(self, queue=None, **options) -> SqsTrigger:
        return SqsTrigger(queue or self.queue, self.bucket, "check", QUICK.lease, until_empty=True, **options)

    def invocation(self, function, shutdown=None, observations=None, hooks=()) -> Invocation:
        return Invocation(self.bucket, function, QUICK, "w1", shutdown or Shutdown(0.2), hooks, observations)

    def serve(self, function, **options) -> None:
        """Serve like a new process that ends when the queue is empty."""
        observations = Observations()
        trigger = self.trigger(observations=observations, **options)
        trigger.run(self.invocation(function, observations=observations).receive, self.stop)

    def answer(self, request_id: str = "r1") -> dict:
        return json.loads(self.bucket.get(f"results/check/{request_id}/result.json"))

    def counts(self) -> tuple[int, int]:
        return self.cloud.counts(self.url)


@pytest.fixture
def announced(cloud) -> AnnouncedBucket:
    return AnnouncedBucket(cloud)


def test_a_message_is_deleted_only_when_its_answer_is_there(announced):
    announced.request()
    seen = []
    echo = Echo(lambda body, workspace: seen.append(announced.counts()))
    announced.serve(echo)
    assert seen == [(0, 1)], "held while it runs"
    assert announced.answer()["code"] == "OK"
    assert announced.counts() == (0, 0)


@pytest.mark.parametrize("key", ["requests/check//r1.json", "/requests/check/r1.json", "requests//check/r1.json"])
def test_a_message_of_a_manifest_whose_key_no_other_store_could_bear_is_answered(announced, key):
    announced.cloud.client("s3").put_object(Bucket=announced.bucket.name, Key=key, Body=b'{"request_id": "r1"}')
    announced.queue.send(json.dumps(put_event(announced.bucket.name, announced.bucket.head(key))))
    announced.serve(Echo())
    (identity,) = announced.bucket.folders("results/check/")
    assert identity.startswith("invalid-")
    assert "cannot be a key" in announced.answer(identity)["message"]
    assert announced.counts() == (0, 0)


def test_duplicates_and_disorder_run_each_request_once(announced):
    for number in (3, 1, 2, 3, 1):
        announced.request(f"r{number}")
    echo = Echo()
    announced.serve(echo)
    assert sorted(echo.runs) == ["r1", "r2", "r3"]
    assert announced.counts() == (0, 0)


def test_a_request_that_another_worker_has_is_postponed_until_its_death_would_show(announced):
    announced.request()
    body = json.loads(announced.bucket.get("requests/check/r1.json"))
    other = Claims(announced.bucket, "check", QUICK.lease, "other")
    other.acquire("r1", "requests/check/r1.json", canonical_hash(body))
    echo = Echo()
    invoked = announced.invocation(echo)
    announced.trigger().run(invoked.receive, announced.stop)
    assert (echo.runs, announced.counts()) == ([], (0, 1))
    until(lambda: announced.counts() == (1, 0), 10)  # two leases of 0.3 s, rounded up, and a second
    announced.trigger().run(invoked.receive, announced.stop)
    assert echo.runs == ["r1"], "its worker did not beat in between"
    assert announced.counts() == (0, 0)


def test_a_postponed_message_is_a_new_one_that_comes_later(announced):
    announced.queue.send("body")
    message = announced.queue.receive()
    announced.queue.postpone(message, 2)
    assert announced.counts() == (0, 1)
    until(lambda: announced.counts() == (1, 0), 10)
    again = announced.queue.receive()
    assert (again.body, again.receives) == ("body", 1)


class Held:
    """A queue that releases a message after a moment, and records when it was asked to hold it."""

    visibility = 0.2

    def __init__(self, *answers) -> None:
        self.moments, self._answers = list[float](), iter(answers)

    def hold(self, message, seconds):
        assert seconds == self.visibility
        self.moments.append(time.monotonic())
        answer = next(self._answers, True)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_message_is_kept_invisible_for_as_long_as_it_is_worked_on_whatever_the_store_does():
    queue, begun = Held(QueueError("away"), True, QueueError("away")), time.monotonic()
    with Pulse("keeping m", MessageVisibility(queue, Message("m", "body", "receipt", 1, begun))):
        time.sleep(0.5)  # a store that does not answer: neither manifest, nor claim, nor heartbeat
    number = len(queue.moments)
    pauses = [later - earlier for earlier, later in itertools.pairwise([begun, *queue.moments])]
    assert number >= 6
    assert max(pauses) < queue.visibility / 2, "one that is lost leaves time for another"
    time.sleep(0.2)
    assert len(queue.moments) == number, "what is given back is not hidden again"


def test_a_message_that_sqs_lets_nobody_hold_any_longer_is_not_asked_for_again():
    queue = Held(False)
    with Pulse("keeping m", MessageVisibility(queue, Message("m", "body", "receipt", 1, 0.0))):
        time.sleep(0.3)
    assert len(queue.moments) == 1


def test_by_the_defaults_a_killed_worker_is_followed_within_a_minute_and_no_living_one():
    """The last extension, its visibility timeout, and the watch of the next receiver, and nothing else."""
    settings = Settings()
    trigger = SqsTrigger(None, MemoryBucket(), "check", settings.lease)
    visibility, watch = settings.sqs.visibility_seconds, trigger._busy_seconds
    assert watch >= STALE_LEASES * settings.lease.seconds, "whoever gets it then needs no look of its own"
    assert visibility + watch <= 52, "eight seconds are left for the polls, the store and the start of the work"
    lost = 2  # calls one after the other that may be lost
    assert (lost + 1) * visibility / EXTENSIONS + ANSWER_SECONDS <= visibility, "a living worker's message never shows"
    queues = re.findall(r"VisibilityTimeout: (\d+)", TEMPLATE.read_text())
    assert set(queues) == {str(visibility)}


def test_whoever_gets_a_postponed_message_knows_what_was_seen_before_and_takes_over_at_once(announced):
    """A different process from the one that postponed it: with many workers that is the usual case."""
    announced.request()
    body = json.loads(announced.bucket.get("requests/check/r1.json"))
    Claims(announced.bucket, "check", QUICK.lease, "dead").acquire("r1", "requests/check/r1.json", canonical_hash(body))
    announced.serve(Echo())
    assert announced.counts() == (0, 1), "watched and postponed"
    until(lambda: announced.counts() == (1, 0), 10)
    another = Echo()
    announced.serve(another)
    assert another.runs == ["r1"]
    assert announced.counts() == (0, 0)


def test_what_was_seen_of_a_worker_that_lives_is_worth_nothing(announced):
    announced.request()
    body = json.loads(announced.bucket.get("requests/check/r1.json"))
    claims = Claims(announced.bucket, "check", QUICK.lease, "alive")
    held = claims.acquire("r1", "requests/check/r1.json", canonical_hash(body))
    announced.serve(Echo())
    until(lambda: announced.counts() == (1, 0), 10)
    claims.beat("r1", held.record)
    another = Echo()
    announced.serve(another)
    assert (another.runs, announced.counts()) == ([], (0, 1))


@pytest.mark.parametrize("value", ["", "31", "x 0123456789abcdef", "9999 0123456789abcdef", "31 0123456789ABCDEF"])
def test_an_attribute_that_none_of_ours_has_written_is_passed_over(announced, value):
    attribute = {"photog-seen": {"DataType": "String", "StringValue": value or " "}}
    announced.cloud.client("sqs").send_message(QueueUrl=announced.url, MessageBody="body", MessageAttributes=attribute)
    message = announced.queue.receive()
    assert (message.body, message.seen, message.kept_back) == ("body", (), 0.0)


def test_a_message_is_never_held_beyond_twelve_hours_which_sqs_would_refuse(announced):
    now = [0.0]
    settings = SqsSettings(endpoint=announced.cloud.endpoint, wait_seconds=0, visibility_seconds=120)
    queue = SqsQueue(announced.url, settings, S3, clock=lambda: now[0])
    asked = []
    queue._quick = type("Sqs", (), {"change_message_visibility": lambda self, **call: asked.append(call)})()
    message = Message("m", "body", "receipt", 1, 0.0)
    now[0] = LONGEST_HOLD - 60.0
    assert queue.hold(message, 120) is True
    assert asked[-1]["VisibilityTimeout"] == 59
    now[0] = LONGEST_HOLD - 1.0
    assert queue.hold(message, 120) is False
    assert len(asked) == 1
    assert queue.hold(message, 0) is True, "giving back is always allowed"


def test_a_worker_that_goes_down_gives_its_message_back_at_once(announced):
    announced.request()
    shutdown = Shutdown(0.2)

    def work(body, workspace):
        shutdown.request(now=True)
        workspace.progress("half way", 1, 2)

    trigger = announced.trigger()
    trigger.run(announced.invocation(Echo(work), shutdown).receive, shutdown.requested)
    assert announced.counts() == (1, 0)
    second = Echo()
    announced.serve(second)
    assert second.runs == ["r1"]
    assert announced.answer()["code"] == "OK"


def test_a_failing_store_keeps_the_message_for_later_and_the_worker_alive(announced, monkeypatch):
    monkeypatch.setattr(sqs, "RETRY_SECONDS", 0.01)
    announced.request()

    def fail(created):
        raise BucketError("the store is away")

    announced.trigger().run(fail, announced.stop)
    assert announced.counts() == (0, 1)


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        '{"hello": 1}',
        json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}),
        json.dumps(put_event("another-bucket", ObjectInfo("requests/check/r.json", 1, "e", 0.0))),
    ],
)
def test_what_cannot_be_read_is_left_to_the_dead_letters_and_dropped_by_their_consumer(cloud, body, monkeypatch):
    monkeypatch.setattr(sqs, "UNREADABLE_SECONDS", 0)
    letters = cloud.queue()
    announced = AnnouncedBucket(cloud, letters, receives=2)
    announced.queue.send(body)
    announced.serve(Echo())
    assert announced.counts() == (0, 0)
    assert cloud.counts(letters) == (1, 0)
    announced.serve(DeadLetterFunction("check", QUICK), queue=announced.connect(letters), last=True)
    assert cloud.counts(letters) == (0, 0)


def test_a_request_of_another_function_is_not_taken_for_done(announced, monkeypatch):
    monkeypatch.setattr(sqs, "UNREADABLE_SECONDS", 5)
    announced.bucket.put("requests/train/t.json", b'{"request_id": "t"}')
    announced.queue.send(json.dumps(put_event(announced.bucket.name, announced.bucket.head("requests/train/t.json"))))
    announced.serve(Echo())
    assert announced.counts() == (0, 1), "the queue is wired wrongly; the message must not vanish"


def test_messages_of_other_objects_and_test_events_are_acknowledged(announced):
    announced.queue.send(json.dumps({"Event": "s3:TestEvent"}))
    announced.bucket.put("photos/1.jpg", b"x")
    announced.queue.send(json.dumps(put_event(announced.bucket.name, announced.bucket.head("photos/1.jpg"))))
    announced.serve(Echo())
    assert announced.counts() == (0, 0)


def test_a_dead_letter_becomes_an_error_answer_unless_there_is_an_answer_or_a_living_worker(cloud):
    announced = AnnouncedBucket(cloud)
    for request_id in ("lost", "done", "running"):
        announced.request(request_id)
    done = announced.bucket.head("requests/check/done.json")
    announced.invocation(Echo()).receive(ObjectCreated(done.key))
    running = json.loads(announced.bucket.get("requests/check/running.json"))
    claims = Claims(announced.bucket, "check", QUICK.lease, "other")
    claims.acquire("running", "requests/check/running.json", canonical_hash(running))
    announced.serve(DeadLetterFunction("check", QUICK), last=True)
    assert announced.answer("lost")["data"]["error"] == {"type": "Undeliverable", "retryable": True, "retry_after": 60}
    assert announced.answer("done")["code"] == "OK"
    assert announced.bucket.head("results/check/running/result.json") is None
    assert announced.counts() == (0, 1), "the running one's letter is looked at again later"


def test_redrive_moves_a_function_s_letters_and_no_others(cloud):
    announced = AnnouncedBucket(cloud)
    letters = announced.connect(cloud.queue())
    for key in ("requests/check/a.json", "requests/check/b.json", "requests/train/t.json"):
        announced.bucket.put(key, b"{}")
        letters.send(json.dumps(put_event(announced.bucket.name, announced.bucket.head(key))))
    letters.send("no json")
    assert redrive("check", letters, announced.queue, 100) == 2
    assert announced.counts() == (2, 0)
    assert cloud.counts(letters.url) == (2, 0)


def test_redrive_to_a_queue_that_is_not_there_leaves_every_letter_to_be_received_again(cloud):
    announced = AnnouncedBucket(cloud)
    letters = announced.connect(cloud.queue())
    announced.bucket.put("requests/check/a.json", b"{}")
    letters.send(json.dumps(put_event(announced.bucket.name, announced.bucket.head("requests/check/a.json"))))
    with pytest.raises(QueueError, match="none"):
        redrive("check", letters, announced.connect(f"{cloud.endpoint}/123456789012/none"), 100)
    assert cloud.counts(letters.url) == (1, 0)
    assert redrive("check", letters, announced.queue, 100) == 1


def test_a_queue_that_is_not_there_is_an_error_that_names_it(cloud):
    queue = AnnouncedBucket(cloud).connect(f"{cloud.endpoint}/123456789012/none")
    with pytest.raises(QueueError, match="none"):
        queue.receive()


def test_a_task_is_protected_from_scale_in_while_it_works_and_free_when_it_is_idle(announced):
    for number in range(3):
        announced.request(f"r{number}")
    with Receiver() as agent:
        protection = TaskProtection(90, agent.url)
        announced.trigger(hooks=[protection]).run(
            announced.invocation(Echo(), hooks=[protection]).receive, announced.stop
        )
        calls = [(path, json.loads(body)) for path, _, body in agent.got]
    state = "/task-protection/v1/state"
    assert calls[0] == (state, {"ProtectionEnabled": True, "ExpiresInMinutes": 3})
    assert calls[-1] == (state, {"ProtectionEnabled": False})
    assert len(calls) == 2, "on the edges of busy and idle, not with every request"


def test_a_worker_of_an_empty_queue_shows_that_it_lives_with_each_poll_and_that_it_is_idle(announced):
    seen = []

    class Watch(AttemptHook):
        def polled(self):
            seen.append("polled")

        def idle(self):
            seen.append("idle")
            if len(seen) == 4:
                announced.stop.set()

    trigger = SqsTrigger(announced.queue, announced.bucket, "check", QUICK.lease, [Watch()])
    trigger.run(announced.invocation(Echo()).receive, announced.stop)
    assert seen == ["polled", "idle", "polled", "idle", "idle"]


def test_an_agent_that_fails_does_not_keep_a_request_from_its_answer(announced):
    announced.request()
    with Receiver(500, 500, 500) as agent:
        protection = TaskProtection(90, agent.url)
        announced.trigger(hooks=[protection]).run(
            announced.invocation(Echo(), hooks=[protection]).receive, announced.stop
        )
    assert announced.answer()["code"] == "OK"


def test_a_sweep_finds_what_nobody_will_answer_and_nothing_else(announced):
    for request_id in ("lost", "done", "given-back", "died", "running", "young"):
        announced.bucket.put(f"requests/check/x-{request_id}.json", json.dumps({"request_id": request_id}).encode())
    announced.bucket.put("requests/check/no.json", b"no json")
    announced.invocation(Echo()).receive(ObjectCreated("requests/check/x-done.json"))
    claims = Claims(announced.bucket, "check", QUICK.lease, "other")
    held = {one: claims.acquire(one, f"requests/check/x-{one}.json", "s") for one in ("given-back", "died", "running")}
    claims.release("given-back", held["given-back"].record)
    young = announced.bucket.head("requests/check/x-young.json").modified

    def wait(seconds):
        assert seconds == 2 * QUICK.lease.seconds
        claims.beat("running", held["running"].record)

    later = Sweep(announced.bucket, QUICK.limits, QUICK.lease, wall=lambda: young + 1000, wait=wait)
    found = {one.request_id: one.state for one in later.find(["check"], 900)}
    unreadable = next(one for one in found if one.startswith("invalid-"))
    assert found == {
        "lost": "unclaimed",
        "young": "unclaimed",
        "given-back": "released",
        "died": "abandoned",
        unreadable: "unclaimed",
    }
    now = Sweep(announced.bucket, QUICK.limits, QUICK.lease, wall=lambda: young + 1, wait=wait)
    assert now.find(["check"], 900) == []


def test_a_job_waits_for_the_death_of_an_earlier_attempt_and_only_so_long(announced):
    announced.bucket.put("requests/check/r1.json", b'{"request_id": "r1"}')
    claims = Claims(announced.bucket, "check", QUICK.lease, "dead")
    claims.acquire("r1", "requests/check/r1.json", canonical_hash({"request_id": "r1"}))
    receive = announced.invocation(Echo()).receive
    assert run_job(receive, "requests/check/r1.json", QUICK.lease, announced.stop) is Outcome.ANSWERED
    started = time.monotonic()
    alive = run_job(lambda created: Outcome.BUSY, "requests/check/r1.json", Lease(seconds=0.1), announced.stop)
    assert alive is Outcome.BUSY
    assert time.monotonic() - started < 10
