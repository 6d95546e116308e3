"""Real worker processes on moto's S3, EventBridge, SQS and SNS: manifests come in by plain boto3, answers go out."""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import S3Bucket
from shared.contract.function import NAMES
from tests import echo, pictures, zygotes
from tests.cloud import REGION

ROOT = Path(__file__).parents[2]
QUICK = {
    "PHOTOG_LEASE__SECONDS": "1",
    "PHOTOG_SCAN__SECONDS": "0.3",
    "PHOTOG_SQS__VISIBILITY_SECONDS": "4",
    "OMP_NUM_THREADS": "1",
}
DEFAULTS = {"OMP_NUM_THREADS": "1"}
TRAIN = {"user_id": "grace", "max_train_steps": 12, "val_save_checkpointing_steps": 6}
STEPS = {"first_diffusion_steps": 100, "second_diffusion_steps": 4}  # a diffusion long enough to be killed within it

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# every question is a call to moto, which shares this process and two cores with the workers
until = partial(echo.until, pause=0.2)


class Site:
    """A bucket, per function a queue behind EventBridge with its dead letters, a topic with a subscriber."""

    def __init__(self, cloud) -> None:
        self.cloud, self.s3 = cloud, cloud.client("s3")
        self.name = cloud.bucket()
        self.bucket = S3Bucket(self.name, S3Settings(endpoint=cloud.endpoint, region=REGION))
        self.topic, self.subscriber = cloud.topic()
        self.letters: dict[str, str] = {}
        self.queues: dict[str, str] = {}
        self.running: list[subprocess.Popen[bytes]] = []

    def queue(self, function: str) -> str:
        if function not in self.queues:
            self.letters[function] = self.cloud.queue()
            self.queues[function] = self.cloud.queue(self.letters[function])
            self.cloud.route(self.name, function, self.queues[function])
        return self.queues[function]

    def put(self, function: str, body: dict, name: str | None = None) -> str:
        key = f"requests/{function}/{name or body['request_id']}.json"
        self.s3.put_object(Bucket=self.name, Key=key, Body=json.dumps(body).encode())
        return key

    def verb(
        self, *words: str, queue: str | None = None, pace: dict | None = None, modules: tuple[str, ...] = zygotes.LIGHT
    ) -> "subprocess.Popen[bytes]":
        environment = self.cloud.environment(queue, **(pace or QUICK), PHOTOG_NOTIFY__SNS_TOPIC=self.topic)
        command = [sys.executable, "-m", "shared.cli", *words]
        process = zygotes.start(command, modules, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        self.running.append(process)
        return process

    def worker(self, function: str, pace: dict | None = None) -> "subprocess.Popen[bytes]":
        modules = zygotes.LIGHT if function == "check" else zygotes.HEAVY
        words = ("worker", function, f"s3://{self.name}")
        return self.verb(*words, queue=self.queue(function), pace=pace, modules=modules)

    def read(self, key: str) -> dict | None:
        return json.loads(self.bucket.get(key)) if self.bucket.head(key) else None

    def answer(self, function: str, request_id: str) -> dict | None:
        return self.read(f"results/{function}/{request_id}/result.json")

    def stage(self, function: str, request_id: str) -> str:
        said = self.read(f"progress/{function}/{request_id}.json")
        return said["data"]["stage"] if said else ""

    def told(self) -> list[dict]:
        """The events that the topic's subscriber got since it was last asked."""
        return [json.loads(json.loads(body)["Message"]) for body in self.cloud.messages(self.subscriber)]


@pytest.fixture(scope="module")
def site(cloud):
    made = Site(cloud)
    for function in NAMES:
        made.queue(function)  # before the first manifest: a rule knows nothing of what was put before it
    for index, photo in enumerate(pictures.variations(pictures.hopper(), 6)):
        made.s3.put_object(Bucket=made.name, Key=f"photos/{index}.jpg", Body=pictures.jpeg(photo))
    made.s3.put_object(Bucket=made.name, Key="templates/t.png", Body=pictures.png(pictures.astronaut()[:300]))
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.wait()


def stop(process) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(60)


def killed_once(site: Site, function: str, body: dict, reached) -> dict:
    """The answer of a request whose first worker is killed with -9 in the middle of it."""
    first = site.worker(function)
    site.put(function, body)
    until(reached, 120)
    first.kill()
    first.wait()
    assert site.answer(function, body["request_id"]) is None
    second = site.worker(function)  # gets the very same message, once its visibility is over
    until(lambda: site.answer(function, body["request_id"]), 240)
    until(lambda: site.cloud.counts(site.queue(function)) == (0, 0), 20)
    assert stop(second) == 0
    envelope = site.answer(function, body["request_id"])
    assert envelope is not None
    assert envelope["code"] == "OK", envelope
    assert [event["subject"] for event in site.told()] == [body["request_id"]]
    return envelope["data"]


def test_a_check_killed_in_the_middle_is_answered_by_the_next_worker_and_told_of_once(site):
    body = {"request_id": "c1", "images": [f"photos/{number % 6}.jpg" for number in range(20)]}
    data = killed_once(site, "check", body, lambda: site.stage("check", "c1"))
    assert [one["code"] for one in data["check_results"]] == [1] * 20


def test_by_the_defaults_one_of_three_workers_that_is_killed_is_followed_within_a_minute(site):
    body = {"request_id": "c2", "images": [f"photos/{number % 6}.jpg" for number in range(20)]}
    first = site.worker("check", DEFAULTS)
    site.put("check", body)
    until(lambda: site.stage("check", "c2"), 120)
    others = [site.worker("check", DEFAULTS) for _ in range(2)]
    first.kill()
    begun = time.monotonic()
    until(lambda: len(list(site.bucket.list("claims/check/c2/"))) == 2, 120)
    followed = time.monotonic() - begun
    until(lambda: site.answer("check", "c2"), 120)
    until(lambda: site.cloud.counts(site.queue("check")) == (0, 0), 20)
    assert [stop(one) for one in others] == [0, 0]
    site.told()
    assert followed < 60


def test_duplicates_the_double_event_of_parts_and_disorder_give_one_answer_and_one_event_each(site):
    for number in (2, 0, 1):
        body = {"request_id": f"d{number}", "images": ["photos/0.jpg", f"s3://{site.name}/photos/1.jpg"]}
        for copy in ("a", "b"):
            site.put("check", body, f"{copy}/d{number}")
            site.put("check", body, f"{copy}/d{number}")
    parts = {"Bucket": site.name, "Key": "requests/check/parts.json"}
    upload = parts | {"UploadId": site.s3.create_multipart_upload(**parts)["UploadId"]}
    text = json.dumps({"request_id": "d3", "images": ["photos/0.jpg"]}).encode()
    etag = site.s3.upload_part(**upload, PartNumber=1, Body=text)["ETag"]
    site.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    workers = [site.worker("check"), site.worker("check")]
    until(lambda: all(site.answer("check", f"d{number}") for number in range(4)), 90)
    until(lambda: site.cloud.counts(site.queue("check")) == (0, 0), 30)
    assert [stop(one) for one in workers] == [0, 0]
    for number in range(4):
        assert {one["code"] for one in site.answer("check", f"d{number}")["data"]["check_results"]} == {1}
        assert len(list(site.bucket.list(f"claims/check/d{number}/"))) == 1, "one run each"
    events = site.told()
    assert {event["subject"] for event in events} == {"d0", "d1", "d2", "d3"}
    assert len({event["id"] for event in events}) == 4
    assert list(site.bucket.list("outbox/")) == []


def test_a_training_and_a_portrait_are_killed_in_the_middle_and_made_by_the_next_workers(site):
    training = {"request_id": "t1", "images": [f"photos/{index}.jpg" for index in range(6)], "configure": TRAIN}
    data = killed_once(site, "train", training, lambda: site.stage("train", "t1") == "training")
    assert site.bucket.head(data["lora"]).size > 10_000
    assert site.read("users/grace/model.json")["lora"] == data["lora"]
    configure = {"user_id": "grace", "image_format": "png", "seed": 5} | STEPS
    portrait = {"request_id": "p1", "template_image": "templates/t.png", "configure": configure}
    data = killed_once(site, "generate", portrait, lambda: site.stage("generate", "p1").startswith("diffusion"))
    assert site.bucket.get(data["image_key"]).startswith(b"\x89PNG")


def test_a_worker_without_a_queue_scans_the_bucket(site):
    scanning = site.verb("worker", "check", f"s3://{site.name}")
    site.put("check", {"request_id": "scanned", "images": ["photos/0.jpg"]})
    until(lambda: site.answer("check", "scanned"), 60)
    assert stop(scanning) == 0
    site.told()


def test_a_job_answers_one_manifest_by_its_key_and_says_how_it_went(site):
    key = site.put("check", {"request_id": "job", "images": "wrong"})
    job = site.verb("job", "check", f"s3://{site.name}", key)
    assert job.wait(60) == 0, "answered, with an error"
    assert site.answer("check", "job")["code"] == "error"
    (event,) = site.told()
    assert (event["type"], event["dataref"]) == ("photog.check.failed.v1", "results/check/job/result.json")
    assert site.verb("job", "check", f"s3://{site.name}", "photos/0.jpg").wait(60) == 2
    assert site.verb("job", "check", "s3://nobody-has-this-bucket", key).wait(60) == 75


def test_dead_letters_are_answered_and_a_lost_event_is_found_and_sent_again(site):
    site.cloud.messages(site.queue("check"))
    site.put("check", {"request_id": "dead", "images": ["photos/0.jpg"]})
    (letter,) = site.cloud.messages(site.queue("check"))
    site.cloud.client("sqs").send_message(QueueUrl=site.letters["check"], MessageBody=letter)
    verb = site.verb("dead-letters", "check", f"s3://{site.name}", "--once", queue=site.letters["check"])
    assert verb.wait(60) == 0
    assert site.answer("check", "dead")["data"]["error"]["type"] == "Undeliverable"
    assert [event["type"] for event in site.told()] == ["photog.check.failed.v1"]
    site.put("check", {"request_id": "lost", "images": ["photos/0.jpg"]})
    assert len(site.cloud.messages(site.queue("check"))) == 1, "the event is gone now"
    words = ("sweep", f"s3://{site.name}", "--older", "0", "--function", "check", "--json")
    found = site.verb(*words)
    assert found.wait(60) == 1
    assert [one["request_id"] for one in json.loads(found.stdout.read())["lost"]] == ["lost"]
    assert site.verb(*words, "--queue", site.queue("check"), queue=site.queue("check")).wait(60) == 0
    worker = site.worker("check")
    until(lambda: site.answer("check", "lost"), 60)
    assert stop(worker) == 0
