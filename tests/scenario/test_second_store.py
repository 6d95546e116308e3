"""Workers on an S3 that is not moto's: odd keys, the store's own notifications, a worker killed; each answered once.

`tests/functional/test_buckets.py` runs the contract of buckets over the same store.
"""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from shared.buckets.aws_clients import S3Settings
from shared.buckets.conditional_writes import honors_conditions
from shared.buckets.s3 import S3Bucket
from shared.operations.erasure import Erasure
from shared.settings import Lease
from tests import echo, pictures
from tests.cloud import REGION

ROOT = Path(__file__).parents[2]
QUICK = {"PHOTOG_LEASE__SECONDS": "2", "PHOTOG_SQS__VISIBILITY_SECONDS": "4", "OMP_NUM_THREADS": "1"}
PHOTO = "photos/Äpfel & Bücher +1 %2B.jpg"
NAMES = [name for number in range(20) for name in (f"r{number} b", f"r{number}+b", f"r{number}ü%20ß")]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
until = partial(echo.until, pause=0.3)


@pytest.fixture
def bucket(second_store) -> S3Bucket:
    return S3Bucket(second_store.bucket(), S3Settings(endpoint=second_store.endpoint, region=REGION))


def notified(cloud, bucket) -> str:
    """A queue that the store itself tells of manifests."""
    queue = cloud.queue()
    rules = [{"Name": "prefix", "Value": "requests/check/"}, {"Name": "suffix", "Value": ".json"}]
    told = {"QueueArn": cloud.arn(queue), "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
    cloud.client("s3").put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"QueueConfigurations": [told]}
    )
    return queue


def worker(cloud, bucket, queue) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "shared.cli", "worker", "check", bucket.address]
    return subprocess.Popen(command, cwd=ROOT, env=cloud.environment(queue, **QUICK))


def test_sixty_requests_with_odd_keys_are_answered_once_although_a_worker_is_killed(second_store, bucket):
    assert honors_conditions(bucket)
    queue = notified(second_store, bucket)
    bucket.put(PHOTO, pictures.jpeg(pictures.astronaut()[:300, 100:400]))
    workers = [worker(second_store, bucket, queue) for _ in range(2)]
    try:
        for number, name in enumerate(NAMES):
            own = f"s3://{bucket.name}/{PHOTO}" if number % 2 else PHOTO
            body = {"request_id": f"id{number}", "images": [own]}
            bucket.put(f"requests/check/{name}.json", json.dumps(body).encode())
        until(lambda: len(list(bucket.folders("results/check/"))) >= 5, 120)
        workers[0].kill()
        until(lambda: answers(bucket) == len(NAMES), 400)
        until(lambda: second_store.counts(queue) == (0, 0), 60)
    finally:
        for one in workers:
            one.terminate()
            one.wait(60)
    for number in range(len(NAMES)):
        answer = json.loads(bucket.get(f"results/check/id{number}/result.json"))
        assert [one["code"] for one in answer["data"]["check_results"]] == [1], answer
        assert len(list(bucket.list(f"claims/check/id{number}/"))) <= 2
    assert [info.key for info in bucket.list("progress/")] == []


def answers(bucket: S3Bucket) -> int:
    return sum(info.key.endswith("/result.json") for info in bucket.list("results/check/"))


def test_versions_are_forgotten_there_too(second_store, bucket):
    s3 = second_store.client("s3")
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        bucket.put(PHOTO, b"photo")
    body = {"request_id": "t", "images": [f"s3://{bucket.name}/{PHOTO}"], "configure": {"user_id": "ann"}}
    bucket.put("requests/train/t.json", json.dumps(body).encode())
    bucket.delete(PHOTO)
    Erasure(bucket, Lease(seconds=0.1)).forget("ann")
    left = s3.list_object_versions(Bucket=bucket.name)
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")
