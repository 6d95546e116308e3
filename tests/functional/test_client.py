"""The client that applications import: over a bucket, over HTTP, and its fake."""

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest

from functions.generate.request import GenerateConfigure
from functions.train.request import TrainConfigure
from photog import AsyncClient, Client, FakeClient, RequestFailed, ServerRefused, Usage
from photog.bucket_transport import BucketTransport
from photog.client import Watch
from photog.fake import PIXEL
from photog.http_transport import HttpTransport
from photog.knobs import GenerateKnobs, TrainKnobs
from shared.buckets.aws_clients import S3Settings
from shared.errors import ConflictingRequest, InvalidField, PhotoUnavailable, PhotoUndecodable
from shared.operations.cancellation import UnknownRequest
from shared.operations.uploads import NoSignedUploads
from shared.settings import Settings
from tests.cloud import REGION
from tests.contract import require_contract
from tests.deployment import ROOT
from tests.serving import Served

HEAVY = ("torch", "dlib", "cv2", "numpy", "onnxruntime", "PIL", "boto3", "fastapi", "typer", "watchfiles", "rich")


def test_the_client_is_imported_without_any_heavy_package():
    code = f"import sys; sys.modules.update(dict.fromkeys({HEAVY})); import photog; photog.FakeClient()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_knobs_are_those_of_the_requests():
    people = {"user_id", "references"}
    assert set(GenerateKnobs.__annotations__) == set(GenerateConfigure.model_fields) - people
    assert set(TrainKnobs.__annotations__) == set(TrainConfigure.model_fields) - {"user_id"}


@pytest.fixture
def fake() -> FakeClient:
    return FakeClient()


def test_the_fake_answers_each_function_as_the_contract_says(fake, tmp_path):
    (tmp_path / "me.JPG").write_bytes(b"a photo")
    checked = fake.check([tmp_path / "me.JPG", b"another", "https://host.example/3.jpg"], metadata={"order": 7}).wait(1)
    assert [one.usable for one in checked.data.check_results] == [True] * 3
    assert checked.metadata == {"order": 7}
    assert checked.data.check_results[0].url.endswith(".jpg")
    assert fake.check([b"me"], user_id="ann").wait(1).data.check_results[0].url.startswith("users/ann/photos/")
    trained = fake.train([b"1", b"2", b"3", b"4", b"5"], "ann", max_train_steps=9).wait(1)
    assert (trained.data.user_id, trained.data.steps) == ("ann", 9)
    assert fake.sent[2][1]["images"][0].startswith("users/ann/photos/"), "so that it goes when ann is forgotten"
    for knobs in ({}, {"image_format": "base64"}):
        made = fake.generate(b"template", references=[b"me"], seed=3, **knobs).wait(1)
        assert (made.data.seed, fake.read_picture(made)) == (3, PIXEL)
    for function, body in fake.sent:
        require_contract(f"{function}.request", body)
        require_contract(f"{function}.answer", fake.find_job(function, body["request_id"]).look())


def test_an_answer_tells_what_it_has_used_as_a_typed_object(fake):
    used = fake.generate(b"a template", user_id="ann").wait(1).data.usage
    assert isinstance(used, Usage)
    assert (used.device_seconds, used.user_ids, used.bytes_kept) == (0.1, ["ann"], 0)


def test_a_request_that_is_wrong_is_refused_before_it_is_sent(fake):
    with pytest.raises(InvalidField, match="less than or equal to 1"):
        fake.generate("t.jpg", user_id="ann", more_like_me=2.0)
    misspelt: dict[str, Any] = {"more_like_mee": 0.5}
    with pytest.raises(InvalidField, match=r"did you mean configure\.more_like_me"):
        fake.generate("t.jpg", user_id="ann", **misspelt)
    with pytest.raises(InvalidField, match="user_id"):
        fake.train([b"1"], "a/b")
    assert fake.sent == []


def test_an_error_answer_is_an_exception_that_says_when_to_try_again(fake):
    fake.will_fail("generate", PhotoUnavailable("busy", "template_image").retry_in(9))
    job = fake.generate("https://host.example/t.jpg", user_id="ann")
    with pytest.raises(RequestFailed, match="PhotoUnavailable: busy") as told:
        job.wait(1)
    error = told.value.error
    assert (error.type, error.field, error.retryable, error.retry_after) == (
        "PhotoUnavailable",
        "template_image",
        True,
        9,
    )
    assert fake.generate("t.jpg", user_id="ann").wait(1).code == "OK", "only the next one fails"


def test_progress_is_an_iterator_that_ends_with_the_answer(fake):
    fake.hold()
    job = fake.train([b"1"] * 5, "ann")
    assert job.answer() is None
    seen = []
    fake.tell_progress(job, "photos", 0, 5)
    for progress in job.progress(20):
        seen.append((progress.stage, progress.step))
        if len(seen) == 1:
            fake.tell_progress(job, "training", 3, 10, eta_seconds=4.5)
        else:
            fake.finish(job)
    assert seen == [("photos", 0), ("training", 3)]
    assert job.answer() is not None


def test_waiting_ends_in_time_and_a_canceled_request_says_so(fake):
    fake.hold()
    job = fake.check(["a.jpg"])
    with pytest.raises(TimeoutError, match="was not answered in 0 s"):
        job.wait(0.01)
    assert job.cancel()
    with pytest.raises(RequestFailed, match="RequestCanceled"):
        job.wait(1)
    with pytest.raises(UnknownRequest):
        fake.find_job("check", "nobodys").cancel()


def test_a_look_that_finds_nothing_new_waits_longer_and_news_shorten_the_pause():
    watch = Watch("check", "r", float("inf"))
    pauses = []
    for _ in range(9):
        watch.news(None)
        pauses.append(watch.pause())
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    data = {"stage": "check", "step": 0, "steps": 1, "eta_seconds": None}
    assert watch.news({"request_id": "r", "code": "502", "message": "running", "data": data}) is not None
    assert watch.pause() == 0.05


def test_the_same_is_awaited(fake):
    async def work() -> list[str]:
        client = AsyncClient(fake)
        key = await client.upload(b"me", user_id="ann")
        jobs = await asyncio.gather(*(client.generate("t.jpg", user_id="ann", references=[key]) for _ in range(3)))
        answers = await asyncio.gather(*(job.wait(5) for job in jobs))
        fake.hold()
        job = await client.check([key], metadata={"order": 7})
        fake.tell_progress(client_job := fake.find_job("check", job.request_id), "check", 0, 1)
        stages = []
        async for progress in job.progress(5):
            stages.append(progress.stage)
            fake.finish(client_job)
        assert (await job.wait(5)).metadata == {"order": 7}
        assert {await client.read_picture(answer) for answer in answers} == {PIXEL}
        assert (await client.list_requests("ann"))[0]["state"] == "ok"
        return stages

    assert asyncio.run(work()) == ["check"]


def test_a_folder_and_its_workers(tmp_path):
    client = Client.open_bucket(str(tmp_path / "bucket"))
    job = client.check([b"a photo"], request_id="r1")
    assert client.check([b"a photo"], request_id="r1").request_id == job.request_id, "sent twice, it is one request"
    with pytest.raises(ConflictingRequest):
        client.check([b"another photo"], request_id="r1")
    with pytest.raises(NoSignedUploads, match="no S3 store"):
        client.sign_upload()
    with pytest.raises(InvalidField, match="suffix"):
        client.upload(b"x", suffix="/../x")


def test_a_browser_uploads_straight_to_s3_by_a_signed_url(cloud):
    settings = Settings(s3=S3Settings(endpoint=cloud.endpoint, region=REGION))
    client = Client(BucketTransport.open(f"s3://{cloud.bucket()}/shop", settings))
    signed = client.sign_upload(user_id="ann", content_type="image/png", suffix=".png", expires_seconds=60)
    assert signed.key.startswith("users/ann/photos/")
    assert "X-Amz-Expires=60" in signed.url
    done = httpx.request(signed.method, signed.url, headers=signed.headers, content=b"a picture")
    assert done.status_code == 200, done.text
    assert client.read(signed.key) == b"a picture"
    assert client.check([signed.key]).look() is None


def test_the_rest_interface_is_the_same_client(tmp_path):
    served = Served(tmp_path)
    with served.running() as http:
        client = Client(HttpTransport("http://testserver", "secret", http=http))
        photo = b"\xff\xd8\xff of a person"
        key = client.upload(photo, user_id="ann")
        assert served.bucket.get(key) == photo
        with pytest.raises(PhotoUndecodable, match="this is text"):
            client.upload(b"a letter", user_id="ann")
        job = client.check([key], request_id="r1", metadata={"order": 7})
        assert job.answer() is None
        with pytest.raises(ConflictingRequest):
            client.check([b"\xff\xd8\xff of another"], request_id="r1")
        served.work()
        answer: Any = job.look()
        assert (answer["code"], answer["metadata"]) == ("OK", {"order": 7})
        assert client.read(answer["data"]["artifact"]) == b"echo"
        later = client.check([key], request_id="r2")
        assert later.cancel()
        with pytest.raises(UnknownRequest):
            client.find_job("check", "r3").cancel()
        with pytest.raises(NoSignedUploads):
            client.sign_upload()
        with pytest.raises(ServerRefused, match="token") as told:
            Client(HttpTransport("http://testserver", "wrong", http=http)).check([key])
        assert told.value.status == 401
