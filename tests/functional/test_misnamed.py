"""Keys that only S3 accepts: a manifest under one is answered, a picture under one is refused by name."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from threading import Event

import pytest

from shared.buckets import InvalidKey
from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import S3Bucket
from shared.contract import keys
from shared.events import ObjectCreated, parse
from shared.lifecycle.bucket_photos import make_fetcher
from shared.lifecycle.invocation import Outcome
from shared.operations.erasure import Erasure
from shared.operations.status import overview
from shared.operations.sweep import Sweep
from shared.settings import Lease, Limits, Scan, Settings
from shared.triggers.scan import ScanTrigger
from tests.cloud import REGION
from tests.echo import Echo, invocation

MANIFEST = json.dumps({"request_id": "k2"}).encode()
KEYS = ["requests/check//k2.json", "requests/check/sub///k2.json", "requests/check/k2.json/", "requests//check/k2.json"]


@pytest.fixture(params=["", "some/where"])
def bucket(cloud, request) -> S3Bucket:
    return S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION), request.param)


def put(cloud, bucket, key, body=MANIFEST) -> None:
    cloud.client("s3").put_object(Bucket=bucket.name, Key=bucket.prefix + key, Body=body)


def answer(bucket) -> dict:
    identity = f"invalid-{sha256(MANIFEST).hexdigest()[:12]}"
    return json.loads(bucket.get(f"results/check/{identity}/result.json"))


@pytest.mark.parametrize("key", KEYS[:3])
def test_a_scanning_worker_answers_a_manifest_whose_key_is_none(bucket, cloud, key):
    put(cloud, bucket, key)
    put(cloud, bucket, "requests/check/k1.json", b'{"request_id": "k1"}')
    put(cloud, bucket, "requests/check/folder/", b"")
    trigger, receive = ScanTrigger(bucket, "check", Scan(settle_seconds=0)), invocation(bucket, Echo()).receive
    trigger.scan(receive, Event())
    trigger.scan(receive, Event())
    told = answer(bucket)
    assert told["code"] == "error"
    assert told["data"]["error"]["type"] == "InvalidManifest"
    assert "cannot be a key" in told["message"]
    assert key in told["message"]
    assert key.replace("///", "/").replace("//", "/").rstrip("/") in told["message"], "what to call it instead"
    assert bucket.head("results/check/k1/result.json") is not None
    trigger.scan(receive, Event())
    assert not trigger.failing


@pytest.mark.parametrize("key", [*KEYS, "/requests/check/k2.json"])
def test_an_event_of_such_a_manifest_is_answered_once(bucket, cloud, key):
    put(cloud, bucket, key)
    receive = invocation(bucket, Echo()).receive
    assert receive(ObjectCreated(key)) is Outcome.ANSWERED
    assert receive(ObjectCreated(key)) is Outcome.ALREADY
    assert key in answer(bucket)["message"]


def test_status_sweep_and_forgetting_see_such_a_manifest(bucket, cloud):
    body = json.dumps({"request_id": "t1", "images": ["a.jpg"], "configure": {"user_id": "ann"}}).encode()
    for key in ("requests/train//t1.json", "requests//train/t1.json"):
        put(cloud, bucket, key, body)
    identity = f"invalid-{sha256(body).hexdigest()[:12]}"
    assert overview(bucket, Limits())["train"]["waiting"] == [identity]
    (lost,) = Sweep(bucket, Limits(), Lease(), wait=lambda seconds: None).find(["train"], 0)
    assert (lost.request_id, lost.info.key) == (identity, "requests/train//t1.json")
    gone = Erasure(bucket, Lease(), wait=lambda seconds: None).forget("ann")
    assert {"requests/train//t1.json", "requests//train/t1.json"} <= set(gone)
    assert list(bucket.list("requests/")) == []


def test_a_picture_is_read_under_no_such_key_though_s3_holds_it(bucket, cloud):
    for key in ("photos//b.jpg", "/lead.jpg", "photos/c.jpg/"):
        put(cloud, bucket, key, b"x")
        with pytest.raises(InvalidKey):
            bucket.get(key)
        (error,) = make_fetcher(bucket, {}, Settings()).fetch([key])
        assert "cannot be a key" in error.message


ASTRAY = {
    "/requests/check/x.json": "requests/check/x.json",
    "//./Requests//check/x.json": "requests/check/x.json",
    "./requests/check/x.json": "requests/check/x.json",
    "../requests/Check/x.json": "requests/check/x.json",
    "REQUESTS/check/y.json": "requests/check/y.json",
    "requests /check/x.json": "requests/check/x.json",
    "requests\\check\\x.json": "requests/check/x.json",
    "requests//check/x.json": "requests/check/x.json",
    "requests//Check//x.txt": "requests/check/x.txt",
    "requests/./check/x.json": "requests/check/x.json",
    "requests/check/./x.json": "requests/check/x.json",
    "requests/check/../check/x.json": "requests/check/check/x.json",
    "requests/check/a\\b.json": "requests/check/a/b.json",
    "requests/check/\x07bell.json": "requests/check/bell.json",
}


def told(bucket, caplog, function="check") -> tuple[set[str], dict[str, str]]:
    """The keys that a scanning worker logs, each once, and what `photog status` shows."""
    caplog.clear()
    clock = iter(range(0, 10_000, 100))
    trigger = ScanTrigger(bucket, function, Scan(settle_seconds=5), lambda: next(clock))
    for _ in range(3):
        trigger.scan(invocation(bucket, Echo()).receive, Event())
    lines = [one.getMessage() for one in caplog.records if " is not read: " in one.getMessage()]
    assert len(lines) == len(set(lines))
    shown = overview(bucket, Limits())[function].get("unread", [])
    return {line.partition(" is not read: ")[0] for line in lines}, {one["key"]: one["why"] for one in shown}


def test_whatever_lies_under_another_spelling_of_requests_is_told_in_log_and_status(bucket, cloud, caplog):
    for key in ASTRAY:
        put(cloud, bucket, key)
    for key, body in (("/photos/x.json", b"x"), ("./a/requests/x.json", b"x"), ("/requests/", b""), ("//", b"")):
        put(cloud, bucket, key, body)
    logged, shown = told(bucket, caplog)
    assert logged == shown.keys() == ASTRAY.keys()
    for key, plain in ASTRAY.items():
        assert shown[key].endswith(f"put it under {plain}")
    _, others = told(bucket, caplog, "train")
    assert others.keys() == {"requests/./check/x.json"} - ASTRAY.keys(), "each concerns one function"
    for key in list(ASTRAY):
        cloud.client("s3").delete_object(Bucket=bucket.name, Key=bucket.prefix + key)
    assert told(bucket, caplog) == (set(), {})


def test_thousands_of_them_cost_a_few_calls_and_are_told_in_part(bucket, cloud, caplog, monkeypatch):
    keys_there = [f"/requests/check/{number}.json" for number in range(1100)]
    keys_there += [f"requests/check/{number}\\.json" for number in range(1100)]
    monkeypatch.setattr(bucket, "_pages", lambda prefix, more: iter(pages(bucket, keys_there, prefix, more)))
    logged, shown = told(bucket, caplog)
    assert len(logged) == 20
    assert 20 <= len(shown) <= 400


def pages(bucket, keys_there, prefix, more):
    """Return S3's listing, in pages of a thousand keys."""
    below = sorted(bucket.prefix + key for key in keys_there if key.startswith(prefix))
    if "Delimiter" in more:
        cut = {
            bucket.prefix + prefix + one.removeprefix(bucket.prefix + prefix).partition("/")[0] + "/" for one in below
        }
        yield {"CommonPrefixes": [{"Prefix": one} for one in sorted(cut)]}
        return
    when = datetime.now(UTC)
    for start in range(0, len(below), 1000):
        page = below[start : start + 1000]
        yield {"Contents": [{"Key": one, "Size": 9, "ETag": "e", "LastModified": when} for one in page]}


def test_which_keys_are_manifests():
    assert all(keys.is_request(key, "check") for key in KEYS)
    assert not keys.is_request("requests/check//.hidden.json", "check")
    assert not keys.is_request("requests/checks//a.json", "check")
    assert not keys.is_request("requests/check", "check")
    for key in (
        "requests/check/./a.json",
        "requests/../check/a.json",
        "requests/check/a\\b.json",
        "requests/check/\x07.json",
    ):
        assert not keys.is_request(key, "check"), "nobody could read it"
    assert keys.is_request("requests/check/..a/.b./x...json", "check")


@pytest.mark.parametrize(("size", "told"), [(0, 0), (None, 0), (9, 1)])
def test_an_event_of_a_folder_marker_is_passed_over_and_one_of_a_misnamed_manifest_is_not(size, told):
    stored = {"key": "requests/check/k2.json/"} | ({} if size is None else {"size": size})
    event = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": stored}}
    assert len(parse({"Records": [event]})) == told
