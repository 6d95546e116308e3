"""The page in a real browser where it does not run alone: on a bucket of S3, and beside the queue protocol."""

import json

import pytest

from shared.buckets.aws_clients import S3Settings, SqsSettings
from shared.buckets.s3 import S3Bucket
from shared.contract import keys
from shared.contract.manifests import encode, failure
from shared.errors import Undeliverable
from shared.events import put_event
from shared.triggers.sqs_queue import SqsQueue
from tests.browser import CHROMIUM, MISSING, drop_file, open_browser, run_page
from tests.cloud import REGION
from tests.pictures import hopper, jpeg
from tests.sdk import Server

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.timeout(300)]

LONGEST_MS = 60_000


@pytest.fixture(scope="module")
def browser():
    with open_browser() as made:
        yield made


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(LONGEST_MS)
    said: list[str] = []
    made = context.new_page()
    made.on("pageerror", lambda error: said.append(str(error)))
    yield made
    context.close()
    assert said == []


def test_dead_letters_of_a_bucket_on_s3_are_seen_and_put_back_into_their_queue(page, cloud):
    bucket = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION))
    letters, queue = cloud.queue(), cloud.queue()
    sent = SqsQueue(letters, SqsSettings(endpoint=cloud.endpoint), S3Settings(region=REGION))
    for function, name in (("check", "a"), ("check", "b"), ("train", "t")):
        key = keys.request(function, name)
        bucket.put(key, encode({"request_id": name}))
        sent.send(json.dumps(put_event(bucket.name, bucket.head(key))))
    dead = failure("a", Undeliverable("no worker could serve this request"), {"cost_time": 0.0})
    bucket.put(keys.result("check", "a"), encode(dead))
    with run_page(bucket.address, **cloud.environment(PHOTOG_SQS__ENDPOINT=cloud.endpoint)) as address:
        page.goto(address + "operation")
        page.wait_for_selector(".chip >> text=Dead letters")
        page.click(".chip >> text=Dead letters >> nth=0")
        page.wait_for_selector("text=/1 to 1 of 1$/")
        page.wait_for_selector(".workers >> text=No worker is alive")
        move = page.get_by_role("button", name="Move messages")
        move.click()
        page.wait_for_selector("text=Give the addresses of both queues")
        page.locator(".redrive").get_by_label("URL of the dead-letter queue").fill(f" {letters}")
        page.locator(".redrive").get_by_label("URL of the workers' queue").fill(f"{queue}-missing")
        page.locator(".redrive .q-select").click()
        page.get_by_role("option", name="Check").click()
        move.click()
        page.wait_for_selector(".q-notification.bg-negative")
        page.locator(".redrive").get_by_label("URL of the workers' queue").fill(queue)
        assert cloud.counts(letters) == (3, 0), "nothing is lost or held by a wrong address"
        move.click()
        page.wait_for_selector("text=2 messages moved.")
    assert (cloud.counts(queue), cloud.counts(letters)) == ((2, 0), (1, 0))


def test_the_page_beside_the_queue_protocol_works_as_the_one_alone(page, tmp_path):
    server = Server(tmp_path, options=("--page",))
    server.start(PHOTOG_TOKEN="secret")
    try:
        page.goto(f"http://{server.endpoint}/page/")
        page.fill("input[name=token]", "secret")
        page.click("button")
        photo = tmp_path / "a.jpg"
        photo.write_bytes(jpeg(hopper()[::4, ::4]))
        page.wait_for_selector(".photos .q-uploader__input[aria-label]", state="attached")
        drop_file(page, ".photos .q-uploader__header", photo)
        page.wait_for_selector(".photo >> text=Checking")
        page.click("nav >> text=Operation")
        page.wait_for_selector(".rows >> text=Waiting")
        page.click(".row-link")
        page.wait_for_selector(".life >> text=images")
        page.click("nav >> text=People")
        page.wait_for_selector("text=Nobody is kept yet")
        page.get_by_label("Log out").click()
        page.wait_for_selector("input[name=token]")
    finally:
        assert server.stop() == 0
    left = [path for root in (keys.PHOTOS, keys.requests("check")) for path in (server.bucket / root).rglob("*.*")]
    assert left == [], "the photo of a tab goes with it, and the check that nobody has begun"
