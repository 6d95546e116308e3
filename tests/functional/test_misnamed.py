"""Keys that S3 takes and nothing else: a manifest under one is answered, a picture under one is refused by name."""

import json
from hashlib import sha256
from threading import Event

import pytest

from shared.buckets import InvalidKey
from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import S3Bucket
from shared.contract import keys
from shared.events import ObjectCreated, parse
from shared.lifecycle.bucket_photos import fetcher
from shared.lifecycle.invocation import Outcome
from shared.operations.erasure import Forgetting
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
    gone = Forgetting(bucket, Lease(), wait=lambda seconds: None).forget("ann")
    assert {"requests/train//t1.json", "requests//train/t1.json"} <= set(gone)
    assert list(bucket.list("requests/")) == []


def test_a_picture_is_read_under_no_such_key_though_s3_holds_it(bucket, cloud):
    for key in ("photos//b.jpg", "/lead.jpg", "photos/c.jpg/"):
        put(cloud, bucket, key, b"x")
        with pytest.raises(InvalidKey):
            bucket.get(key)
        (error,) = fetcher(bucket, {}, Settings()).fetch([key])
        assert "cannot be a key" in error.message


def test_what_else_is_no_key_is_said_in_the_log_once(bucket, cloud, caplog):
    put(cloud, bucket, "requests/check/a\\b.json")
    for _ in range(2):
        assert list(bucket.list("requests/")) == []
    assert caplog.text.count("is no key that an object can have") == 1


def test_which_keys_are_manifests():
    assert all(keys.is_request(key, "check") for key in KEYS)
    assert not keys.is_request("requests/check//.hidden.json", "check")
    assert not keys.is_request("requests/checks//a.json", "check")
    assert not keys.is_request("requests/check", "check")


@pytest.mark.parametrize(("size", "told"), [(0, 0), (None, 0), (9, 1)])
def test_an_event_of_a_folder_marker_is_passed_over_and_one_of_a_misnamed_manifest_is_not(size, told):
    stored = {"key": "requests/check/k2.json/"} | ({} if size is None else {"size": size})
    event = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": stored}}
    assert len(parse({"Records": [event]})) == told
