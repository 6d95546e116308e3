"""The example backend, as a customer and as photog's webhook see it."""

import json
import re
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from standardwebhooks import Webhook

from examples.backend.application import build_application
from photog import FakeClient
from photog.fake import PIXEL
from shared.contract import keys
from shared.contract.manifests import decode
from shared.errors import PhotoUnavailable
from shared.events import completion_event

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FILES = [("poster", ("poster.jpg", b"poster")), ("photos", ("1.jpg", b"me")), ("photos", ("2.jpg", b"me too"))]


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient()


@pytest.fixture
def shop(fake) -> TestClient:
    return TestClient(build_application(fake, SECRET))


def order(shop: TestClient) -> str:
    ordered = shop.post("/portraits", files=FILES)
    assert ordered.status_code == 202, ordered.text
    return ordered.json()["number"]


def event_of(fake: FakeClient, number: str) -> dict:
    key = keys.result("generate", number)
    return completion_event("generate", decode(fake.bucket.get(key)), fake.bucket.address, key)


def deliver(shop: TestClient, event: dict, secret: str = SECRET) -> int:
    """Sign and post an event as photog's webhook does; the status."""
    body, now = json.dumps(event), datetime.now(UTC)
    headers = {
        "webhook-id": event["id"],
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event["id"], now, body),
    }
    return shop.post("/webhook", content=body, headers=headers).status_code


def test_an_order_becomes_a_portrait_and_the_webhook_says_when(shop, fake):
    fake.hold()
    number = order(shop)
    assert shop.get(f"/portraits/{number}").json()["state"] == "ordered"
    assert shop.get(f"/portraits/{number}/picture").status_code == 404
    fake.finish(fake.find_job("generate", number))
    event = event_of(fake, number)
    assert event["data"]["metadata"] == {"order": number}
    assert [deliver(shop, event), deliver(shop, event)] == [204, 204], "an event may come twice"
    assert shop.get(f"/portraits/{number}").json()["state"] == "done"
    assert shop.get(f"/portraits/{number}/picture").content == PIXEL


def test_a_lost_webhook_loses_nothing_and_a_forged_one_is_refused(shop, fake):
    number = order(shop)
    assert deliver(shop, event_of(fake, number), "whsec_" + "A" * 32) == 401
    assert shop.get(f"/portraits/{number}").json()["state"] == "done"


def test_a_customer_is_told_whether_waiting_helps(shop, fake):
    fake.will_fail("generate", PhotoUnavailable("busy").retry_in(30))
    told = shop.get(f"/portraits/{order(shop)}").json()
    assert (told["state"], told["told"]) == ("failed", "Please order again in 30 seconds.")
    fake.will_fail("generate", PhotoUnavailable("the template shows <nothing>"))
    assert shop.get(f"/portraits/{order(shop)}").json()["told"] == "the template shows <nothing>"
    assert shop.get("/portraits/none").status_code == 404


def test_the_page_shows_what_it_is_told_as_text(shop):
    assert "innerHTML" not in shop.get("/").text


def test_the_page_asks_for_what_the_backend_takes_and_nothing_elsewhere(shop):
    page = shop.get("/").text
    assert set(re.findall(r'name="(\w+)"', page)) >= {"poster", "photos"}
    assert not re.search(r"https?://|//cdn", page)
