"""How many store calls a request costs, counted where they leave for the store: docs/architecture.md promises them."""

import json
import time
from pathlib import Path

import pytest

from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import S3Bucket
from shared.contract import keys
from shared.contract.usage import day_of
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.quota import Quota
from shared.lifecycle.usage_records import UsageRecords
from shared.notify.bucket import BucketNotifier
from shared.notify.delivery import Delivery
from shared.notify.outbox import Outbox
from shared.runtime.context import Context
from shared.settings import QuotaSettings, Settings
from tests.cloud import REGION
from tests.echo import Echo, invocation

ARCHITECTURE = Path(__file__).parents[2] / "docs/architecture.md"
ARTIFACT = "results/check/r1/a1/echo.txt"
SETTINGS = Settings()  # no claim beats during a test


class Checking(Echo):
    """Like `check`: an answer without pointers."""

    def pointers(self, data):
        return {}


class CountedStore:
    """An S3 bucket with every call that it sends, as `operation key`."""

    def __init__(self, cloud) -> None:
        self.bucket = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION))
        self.sent: list[str] = []
        for client in {id(one): one for one in (self.bucket._client, self.bucket._creator)}.values():
            client.meta.events.register("before-send.s3", self._count)

    def _count(self, request, event_name, **context):
        key = request.url.partition(self.bucket.name)[2].partition("?")[0].lstrip("/")
        self.sent.append(f"{event_name.rpartition('.')[2]} {key}")

    def drop(self, **body) -> ObjectCreated:
        self.bucket.put("requests/check/r1.json", json.dumps({"request_id": "r1"} | body).encode())
        self.sent.clear()
        return ObjectCreated("requests/check/r1.json")


@pytest.fixture
def store(cloud) -> CountedStore:
    return CountedStore(cloud)


def test_a_new_request_is_claimed_by_three_calls_and_settled_by_four(store):
    hooks = [Delivery(Outbox(store.bucket, []), 60.0), BucketNotifier(store.bucket)]
    assert invocation(store.bucket, Checking(), SETTINGS, hooks=hooks).receive(store.drop()) is Outcome.ANSWERED
    claimed = store.sent.index("PutObject claims/check/r1/000001.json") + 1
    assert store.sent[:claimed] == [
        "GetObject requests/check/r1.json",
        "HeadObject results/check/r1/result.json",
        "PutObject claims/check/r1/000001.json",
    ]
    saved = store.sent.index(f"PutObject {ARTIFACT}") + 1
    after = [call for call in store.sent[saved:] if call != "PutObject progress/check/r1.json"]  # beside the work
    settled = [call.partition(" notifications/check/")[0] for call in after]
    assert settled == [
        "PutObject outbox/check/r1.json",
        "PutObject results/check/r1/result.json",
        "PutObject",  # the notification
        "DeleteObject progress/check/r1.json",
    ]
    assert "3 store calls from the event to the claim" in " ".join(ARCHITECTURE.read_text().split())


def test_usage_and_quotas_cost_what_the_page_says_and_nothing_unless_they_are_set(store):
    quota = QuotaSettings(check=5)
    hooks = [UsageRecords(store.bucket), Quota(store.bucket, quota)]
    created = store.drop(configure={"user_id": "ann"})
    assert invocation(store.bucket, Checking(), SETTINGS, hooks=hooks).receive(created) is Outcome.ANSWERED
    work = store.sent.index(f"PutObject {ARTIFACT}")
    assert [call for call in store.sent[:work] if "usage" in call or call.startswith("List")] == [
        "ListObjectsV2 ",
        f"PutObject {keys.quota_slot(day_of(time.time()), 'ann', 'check', 1)}",
    ]
    after = store.sent[store.sent.index("PutObject results/check/r1/result.json") + 1 :]
    assert [call.split(".")[0] for call in after] == [
        f"PutObject {keys.usage(day_of(time.time()), 'ann')}check",
        "HeadObject results/check/r1/result",
        "DeleteObject progress/check/r1",
    ]
    assert Context(store.bucket, SETTINGS)._accountants() == []
    assert "there are 2 more, and a quota takes 1, or 2" in " ".join(ARCHITECTURE.read_text().split())


def test_an_answered_request_that_is_delivered_again_costs_four_calls_and_changes_nothing(store):
    invoked = invocation(store.bucket, Checking(), SETTINGS)
    created = store.drop()
    invoked.receive(created)
    store.sent.clear()
    assert invoked.receive(created) is Outcome.ALREADY
    assert store.sent == [
        "GetObject requests/check/r1.json",
        "HeadObject results/check/r1/result.json",
        "HeadObject progress/check/r1.json",
        "GetObject claims/check/r1/000001.json",
    ]


def test_a_request_that_another_worker_holds_is_not_claimed_again_at_each_look(store):
    created = store.drop()
    outcomes = []

    def deliver_to_another(body, workspace):
        other = invocation(store.bucket, Checking(), SETTINGS, owner="w2")
        outcomes.extend([other.receive(created), other.receive(created)])

    invocation(store.bucket, Checking(deliver_to_another), SETTINGS).receive(created)
    assert outcomes == [Outcome.BUSY, Outcome.BUSY]
    tries = [call for call in store.sent if call == "PutObject claims/check/r1/000001.json"]
    assert len(tries) == 2, "its own by the first worker, and the second worker's first try"


def test_a_request_that_was_made_ready_is_claimed_first_and_checked_at_the_same_time(store):
    function = Checking()
    invoked, created = invocation(store.bucket, function, SETTINGS), store.drop()
    invoked.prepare(created)
    assert store.sent == [
        "HeadObject requests/check/r1.json",
        "GetObject requests/check/r1.json",
        "HeadObject results/check/r1/result.json",
    ]
    store.sent.clear()
    assert invoked.receive(created) is Outcome.ANSWERED
    assert store.sent[0] == "PutObject claims/check/r1/000001.json"
    asked = [call for call in store.sent if call.startswith("Head") and "progress" not in call]
    assert sorted(asked) == ["HeadObject requests/check/r1.json", "HeadObject results/check/r1/result.json"]


def test_a_request_that_was_made_ready_and_erased_leaves_nothing_however_far_its_work_has_come(store):
    function = Checking()
    invoked, created = invocation(store.bucket, function, SETTINGS), store.drop()
    invoked.prepare(created)
    store.bucket.delete(created.key)
    assert invoked.receive(created) is Outcome.IGNORED
    assert [info.key for info in store.bucket.list("")] == []


def test_a_request_that_was_made_ready_and_answered_or_overwritten_is_served_as_it_is_by_now(store):
    function = Checking()
    invoked, created = invocation(store.bucket, function, SETTINGS), store.drop()
    invoked.prepare(created)
    store.bucket.put("results/check/r1/result.json", b"{}")
    assert invoked.receive(created) is Outcome.ALREADY
    assert [info.key for info in store.bucket.list("claims/")] == []
    store.bucket.delete("results/check/r1/result.json")
    invoked.prepare(created)
    store.drop(more=1)
    assert invoked.receive(created) is Outcome.ANSWERED
    assert json.loads(store.bucket.get("results/check/r1/result.json"))["data"]["echo"] == {
        "request_id": "r1",
        "more": 1,
    }
