"""Each image with nothing but what its Dockerfile installs: its own command starts there, and answers a request."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.buckets import FolderBucket
from tests import pictures
from tests.deployment import DOCKERFILES, command, health_command
from tests.echo import until
from tests.images import Image, build_stage, need_registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
QUICK = {"PHOTOG_SCAN__SECONDS": "0.3", "PHOTOG_LEASE__SECONDS": "2"}
TRAIN = {"user_id": "grace", "max_train_steps": 2, "val_save_checkpointing_steps": 2}
GENERATE = {"user_id": "grace", "image_format": "png", "first_diffusion_steps": 2, "second_diffusion_steps": 2}


def built(function: str, folder: Path) -> Image:
    """By links to what is installed here; `make extras` installs it by pip."""
    by_pip = bool(os.environ.get("TEST_PYTHONS"))
    if by_pip:
        need_registry(folder / "probe")
    made = Image(function, folder, linked=not by_pip)
    made.build()
    return made


@pytest.fixture(scope="module")
def check_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("check")
    yield built("check", folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def train_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("train")
    yield built("train", folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> FolderBucket:
    made = FolderBucket(tmp_path_factory.mktemp("images") / "bucket")
    for index, photo in enumerate(pictures.variations(pictures.hopper(), 5)):
        made.put(f"photos/{index}.jpg", pictures.jpeg(photo))
    made.put("templates/t.png", pictures.png(pictures.astronaut()[:300]))
    return made


def answered(image: Image, bucket: FolderBucket, body: dict) -> dict:
    """The answer of the image's own command to a request."""
    bucket.put(f"requests/{image.function}/r.json", json.dumps({"request_id": "r"} | body).encode())
    result = bucket.root / f"results/{image.function}/r/result.json"
    with image.run_worker(bucket.address, **QUICK) as process:
        until(lambda: result.exists() or process.poll() is not None, 300)
    return json.loads(result.read_text())


def test_the_image_of_check_answers(check_image, bucket):
    answer = answered(check_image, bucket, {"images": ["photos/0.jpg", "photos/1.jpg"]})
    assert [one["code"] for one in answer["data"]["check_results"]] == [1, 1]
    assert check_image.run("python", "-c", "import torch").returncode == 1, "nothing else is in the environment"


def test_the_image_of_check_has_a_command_line_that_says_what_it_has_not(check_image, bucket):
    assert "dead-letters" in check_image.run("photog", "--help").stdout
    report = json.loads(check_image.run("photog", "doctor", bucket.address, "--json", "--no-load").stdout)
    assert report["faces"] == {"engine": "mesh", "provider": "CPUExecutionProvider"}
    assert report["diffusion"] == {
        "missing": "train and generate need torch, diffusers, transformers, peft: "
        "pip install '.[diffusion]' in photog's checkout"
    }
    refused = check_image.run("photog", "worker", "train", bucket.address)
    assert refused.returncode == 2
    assert "pip install '.[diffusion]'" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


def test_the_image_of_serve_takes_a_put_and_is_healthy(tmp_path):
    image = built("serve", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [*command(DOCKERFILES["serve"]), "--port", f"{port}"]
    settings = {"PHOTOG_TOKEN": "secret", "PHOTOG_SERVE__STATE": str(tmp_path / "state")}
    health = [word.replace(":8080", f":{port}") for word in health_command(DOCKERFILES["serve"])]
    with image.run_command(words, str(tmp_path / "bucket"), **settings) as process:
        until(lambda: image.run(*health).returncode == 0 or process.poll() is not None, 60)
        url = f"http://127.0.0.1:{port}/api/predict/photog_check"
        put = httpx.post(url, content=b'{"request_id": "r"}', headers={"Authorization": "secret"})
        assert put.status_code == 200, put.text
        assert list((tmp_path / "bucket/queue/photog_check").iterdir()), "the put is in the bucket"
    assert image.run("python", "-c", "import torch").returncode == 1


def test_the_images_of_train_and_generate_answer(train_image, bucket):
    photos = [f"photos/{index}.jpg" for index in range(5)]
    trained = answered(train_image, bucket, {"images": photos, "configure": TRAIN})
    assert trained["code"] == "OK", trained
    assert build_stage("generate") == build_stage("train"), "one environment serves both"
    image = train_image.as_image_of("generate")
    made = answered(image, bucket, {"template_image": "templates/t.png", "configure": GENERATE})
    assert made["code"] == "OK", made
    doctor = image.run("photog", "doctor", bucket.address, "--json", "--no-load")
    assert doctor.returncode == 0, doctor.stdout
    assert json.loads(doctor.stdout)["diffusion"]["model"] == "portrait-tiny"
