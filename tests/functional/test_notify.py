"""Completion events to the outside: signed, repeated until accepted, never delaying a request."""

import base64
import hashlib
import hmac
import json
import time

import pytest
import standardwebhooks
from pydantic import ValidationError

from shared.buckets import MemoryBucket
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.notify import DeliveryFailed
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.notify.sns import SnsTopic
from shared.notify.webhook import Webhook
from shared.runtime.context import Context
from shared.settings import Lease, NotifySettings, Settings
from tests.echo import QUICK, Echo, invocation, until
from tests.functional.test_invocation import drop
from tests.receiver import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = {"id": "abc", "type": "photog.check.succeeded.v1", "subject": "r1", "source": "/photog/check"}
REFUSED = "http://127.0.0.1:9/"


class Place:
    """A destination that accepts what the test says."""

    def __init__(self, name: str = "place", refuse: tuple[str, ...] = ()) -> None:
        self.name, self.refuse = name, refuse
        self.got: list[str] = []

    def send(self, event):
        if event["subject"] in self.refuse or "*" in self.refuse:
            raise DeliveryFailed("not now")
        self.got.append(event["subject"])


def answered(bucket, *ids: str, destinations=()) -> None:
    """Answer requests as a worker that dies between the commit and the delivery."""
    outbox = Outbox(bucket, destinations)
    for one in ids:
        invocation(bucket, Echo()).receive(drop(bucket, one))
        outbox.note("check", one)


def test_a_webhook_is_signed_as_standard_webhooks_says():
    with Receiver() as receiver:
        Webhook(f"{receiver.url}/hook?token=1", SECRET, 5, clock=lambda: 1614265330.5).send(EVENT)
    ((path, headers, body),) = receiver.got
    assert path == "/hook?token=1"
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("abc", "1614265330")
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, b"abc.1614265330." + body, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body) == EVENT


def test_the_trace_of_a_request_is_a_header_of_its_webhook():
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Receiver() as receiver:
        for event in (EVENT, EVENT | {"traceparent": trace}):
            Webhook(receiver.url, SECRET, 5).send(event)
    assert [headers.get("traceparent") for _, headers, _ in receiver.got] == [None, trace]


def test_the_libraries_of_receivers_accept_what_is_sent():
    with Receiver() as receiver:
        Webhook(receiver.url, SECRET, 5).send(EVENT | {"subject": "Zoë"})
    ((_, headers, body),) = receiver.got
    assert standardwebhooks.Webhook(SECRET).verify(body, dict(headers)) == EVENT | {"subject": "Zoë"}


@pytest.mark.parametrize(("secret", "told"), [("whsec_not base64", "not base64"), ("whsec_", "empty"), ("", "empty")])
def test_a_secret_that_signs_nothing_is_refused(secret, told):
    with pytest.raises(ValueError, match=f"PHOTOG_NOTIFY__WEBHOOK_SECRET .*{told}"):
        Webhook(REFUSED, secret, 5)


@pytest.mark.parametrize("status", [301, 400, 410, 500])
def test_any_answer_but_success_is_no_delivery(status):
    with Receiver(status) as receiver, pytest.raises(DeliveryFailed, match=str(status)):
        Webhook(receiver.url, SECRET, 5).send(EVENT)


def test_webhooks_are_never_sent_unsigned_and_their_urls_stay_out_of_the_bucket():
    with pytest.raises(ValidationError, match="PHOTOG_NOTIFY__WEBHOOK_SECRET"):
        NotifySettings(webhooks=["https://example.com/?token=secret"])
    assert "secret" not in Webhook("https://example.com/?token=secret", SECRET, 5).name
    assert "whsec" not in repr(NotifySettings(webhooks=["https://example.com"], webhook_secret=SECRET))


def test_an_event_reaches_a_topic_s_subscriber_with_attributes_to_filter_by(cloud):
    arn, queue = cloud.topic()
    SnsTopic(arn, cloud.endpoint).send(EVENT)
    (body,) = cloud.messages(queue)
    notification = json.loads(body)
    assert json.loads(notification["Message"]) == EVENT
    assert notification["MessageAttributes"]["type"]["Value"] == EVENT["type"]
    with pytest.raises(DeliveryFailed, match="sns-none"):
        SnsTopic(arn.rpartition(":")[0] + ":none", cloud.endpoint).send(EVENT)


def test_a_worker_that_dies_after_the_commit_loses_no_event():
    bucket, place = MemoryBucket(), Place()
    answered(bucket, "r1", destinations=[place])
    outbox = Outbox(bucket, [place])
    assert list(outbox.entries("check")) == ["outbox/check/r1.json"]
    assert outbox.deliver("outbox/check/r1.json")
    assert place.got == ["r1"]
    assert outbox.entries() == {}
    assert outbox.deliver("outbox/check/r1.json"), "and who comes later finds nothing to do"
    assert place.got == ["r1"]


def test_a_worker_that_dies_before_the_commit_tells_nobody_of_what_has_not_happened():
    bucket, place = MemoryBucket(), Place()
    outbox = Outbox(bucket, [place])
    outbox.note("check", "r1")
    assert outbox.deliver("outbox/check/r1.json")
    assert place.got == []
    assert outbox.entries(), "the note waits for the answer of the next attempt"


def test_the_note_is_written_before_the_answer():
    order = []

    class Watched(MemoryBucket):
        def put(self, key, data):
            order.append(key)
            super().put(key, data)

        def put_if_absent(self, key, data):
            order.append(key)
            return super().put_if_absent(key, data)

    bucket = Watched()
    delivery = Delivery(Outbox(bucket, [Place()]), 60)
    Invocation(bucket, Echo(), QUICK, "w", Shutdown(1), [delivery]).receive(drop(bucket))
    assert order.index("outbox/check/r1.json") < order.index("results/check/r1/result.json")
    delivery.close()
    assert list(bucket.list("outbox/")) == []


def test_one_dead_destination_keeps_only_its_own_event_back():
    bucket, dead, living = MemoryBucket(), Place("dead", refuse=("*",)), Place("living")
    answered(bucket, "r1", destinations=[dead, living])
    now = [0.0]
    outbox = Outbox(bucket, [dead, living], clock=lambda: now[0])
    assert not outbox.deliver("outbox/check/r1.json")
    assert living.got == ["r1"]
    entry = json.loads(bucket.get("outbox/check/r1.json"))
    assert (entry["pending"], entry["failures"]) == (["dead"], {"dead": 1})
    dead.refuse = ()
    outbox.deliver("outbox/check/r1.json")
    assert dead.got == [], "it is left alone for a while"
    now[0] = 2.0
    assert outbox.deliver("outbox/check/r1.json")
    assert (dead.got, living.got) == (["r1"], ["r1"])


def test_a_destination_s_pause_doubles_with_each_failure_up_to_a_limit():
    bucket, dead = MemoryBucket(), Place(refuse=("*",))
    answered(bucket, "r1", destinations=[dead])
    now, pauses = [0.0], []
    outbox = Outbox(bucket, [dead], clock=lambda: now[0])
    for _ in range(14):
        outbox.deliver("outbox/check/r1.json")
        pauses.append(outbox.rest())
        now[0] += pauses[-1] + 1e-6
    assert all(0.5 * 2**turn <= pause <= 2**turn for turn, pause in enumerate(pauses[:9]))
    assert max(pauses) <= 900


def test_an_event_that_nobody_takes_does_not_hold_up_the_others():
    bucket, place = MemoryBucket(), Place(refuse=("r1",))
    answered(bucket, "r1", "r2", "r3", destinations=[place])
    delivery = Delivery(Outbox(bucket, [place]), 0.1)
    delivery.start("check")
    until(lambda: sorted(place.got) == ["r2", "r3"])
    delivery.close()
    assert [info.key for info in bucket.list("outbox/")] == ["outbox/check/r1.json"]


def test_who_does_not_know_a_destination_leaves_its_events_to_others():
    bucket, known = MemoryBucket(), Place("known")
    answered(bucket, "r1", destinations=[known, Place("foreign")])
    assert Outbox(bucket, [known]).deliver("outbox/check/r1.json")
    assert json.loads(bucket.get("outbox/check/r1.json"))["pending"] == ["foreign"]


def settings(**notify) -> Settings:
    return Settings(lease=Lease(seconds=0.3), notify=NotifySettings(webhook_secret=SECRET, **notify))


def event_of(key: str) -> dict:
    stored = {"bucket": {"name": "b"}, "object": {"key": key, "size": 1}}
    return {"Records": [{"eventName": "ObjectCreated:Put", "s3": stored}]}


def test_a_failing_endpoint_gets_the_event_again_until_it_takes_it():
    bucket = MemoryBucket()
    with Receiver(500, 503) as receiver:
        context = Context(bucket, settings(webhooks=[receiver.url]), load=lambda name, settings: Echo())
        context.handle("check", event_of(drop(bucket).key))
        until(lambda: len(receiver.got) == 3, 15)
        until(lambda: not list(bucket.list("outbox/")))
        context.close()
    assert {event["id"] for event in receiver.events()} == {receiver.events()[0]["id"]}
    assert receiver.events()[0]["subject"] == "r1"
    assert receiver.events()[0]["dataref"] == "results/check/r1/result.json"


def test_a_dead_endpoint_neither_delays_nor_fails_a_request():
    bucket = MemoryBucket()
    context = Context(bucket, settings(webhooks=[REFUSED]), load=lambda name, settings: Echo())
    for number in range(20):
        context.handle("check", event_of(drop(bucket, f"r{number}").key))
    assert len(list(bucket.list("results/check/"))) == 40, "answer and artifact of each"
    context.close()
    assert len(list(bucket.list("outbox/"))) == 20, "and no event is lost"


def test_what_a_dead_worker_left_is_delivered_by_the_next_one_of_its_function():
    bucket = MemoryBucket()
    with Receiver() as receiver:
        hook = Webhook(receiver.url, SECRET, 5)
        answered(bucket, "r1", destinations=[hook])
        configured = settings(webhooks=[receiver.url], redelivery_seconds=0.1)
        context = Context(bucket, configured, load=lambda name, settings: Echo())
        context.invocation("check")
        until(lambda: receiver.events())
        until(lambda: not list(bucket.list("outbox/")))
        context.close()
    assert [event["subject"] for event in receiver.events()] == ["r1"]


def test_a_repeated_delivery_of_a_request_tells_of_it_once():
    bucket = MemoryBucket()
    with Receiver() as receiver:
        context = Context(bucket, settings(webhooks=[receiver.url]), load=lambda name, settings: Echo())
        key = drop(bucket).key
        outcomes = [context.handle("check", event_of(key))["outcomes"][key] for _ in range(3)]
        until(lambda: not list(bucket.list("outbox/")))
        time.sleep(0.1)
        context.close()
    assert outcomes == [Outcome.ANSWERED.value, Outcome.ALREADY.value, Outcome.ALREADY.value]
    assert len(receiver.got) == 1
