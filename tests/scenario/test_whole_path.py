"""check, train and generate as real processes on a real folder, each killed in the middle of its work."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.buckets import FolderBucket
from tests import pictures
from tests.echo import until

ROOT = Path(__file__).parents[2]
SETTINGS = {"PHOTOG_LEASE__SECONDS": "2", "PHOTOG_SCAN__SECONDS": "0.3", "OMP_NUM_THREADS": "1"}
TRAIN = {"user_id": "grace", "max_train_steps": 20, "val_save_checkpointing_steps": 10}
FEW_STEPS = {"first_diffusion_steps": 12, "second_diffusion_steps": 10}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> FolderBucket:
    made = FolderBucket(tmp_path_factory.mktemp("path") / "bucket")
    for index, photo in enumerate(pictures.variations(pictures.hopper(), 6)):
        made.put(f"photos/{index}.jpg", pictures.jpeg(photo))
    made.put("templates/t.png", pictures.png(pictures.astronaut()[:300]))
    return made


def killed_once(bucket: FolderBucket, function: str, body: dict, stage: str) -> dict:
    """Submit, kill the worker with -9 when it reports `stage`, let another one answer."""
    bucket.put(f"requests/{function}/{body['request_id']}.json", json.dumps(body).encode())
    first = start(bucket, function)
    until(lambda: stage in said(bucket, function, body["request_id"]), 240)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert answer(bucket, function, body["request_id"]) is None
    second = start(bucket, function)
    try:
        until(lambda: answer(bucket, function, body["request_id"]), 400)
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(120) == 0
    envelope = answer(bucket, function, body["request_id"])
    assert envelope is not None
    assert envelope["code"] == "OK", envelope
    folder = f"results/{function}/{body['request_id']}/"
    assert {info.key.split("/")[3] for info in bucket.list(folder)} == {"a2", "result.json"}
    return envelope["data"]


def start(bucket: FolderBucket, function: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "shared.cli", "worker", function, bucket.address]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | SETTINGS)


def said(bucket: FolderBucket, function: str, request_id: str) -> str:
    path = bucket.root / "progress" / function / f"{request_id}.json"
    return json.loads(path.read_text())["data"]["stage"] if path.exists() else ""


def answer(bucket: FolderBucket, function: str, request_id: str) -> dict | None:
    path = bucket.root / "results" / function / request_id / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_a_training_killed_in_the_middle_is_done_by_the_next_worker_and_serves_the_user(bucket):
    body = {"request_id": "t1", "images": [f"photos/{index}.jpg" for index in range(6)], "configure": TRAIN}
    data = killed_once(bucket, "train", body, "training")
    assert data["lora"] == "results/train/t1/a2/lora.safetensors"
    assert bucket.head(data["lora"]).size > 10_000
    model = json.loads(bucket.get("users/grace/model.json"))
    assert model["lora"] == data["lora"]
    assert all(bucket.head(reference["key"]) for reference in model["references"])


def test_a_portrait_killed_in_the_middle_is_made_by_the_next_worker(bucket):
    if bucket.head("users/grace/model.json") is None:
        pytest.skip("needs the training of the test before")
    configure = {"user_id": "grace", "image_format": "png", "seed": 5} | FEW_STEPS
    body = {"request_id": "p1", "template_image": "templates/t.png", "configure": configure}
    data = killed_once(bucket, "generate", body, "diffusion-1")
    portrait = cv2.imdecode(np.frombuffer(bucket.get(data["image_key"]), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    template = pictures.astronaut()[:300]
    assert portrait.shape == template.shape
    left, top, right, bottom = data["faces"][0]["box"]
    face = np.abs(portrait.astype(int) - template)[top:bottom, left:right]
    assert face.mean() > 2, "the face has changed"
    assert np.array_equal(portrait[:, :60], template[:, :60]), "far from the face nothing has"
    assert data["faces"][0]["similarity"]["after"] > data["faces"][0]["similarity"]["before"]


@pytest.mark.parametrize(
    ("function", "bodies"),
    [
        (
            "generate",
            {
                ("UnknownUser", "nobody"): {"template_image": "templates/t.png", "configure": {"user_id": "nobody"}},
                ("PhotoUnavailable", "none.png"): {"template_image": "none.png", "configure": {"user_id": "x"}},
            },
        ),
        (
            "train",
            {
                ("TooFewPhotos", "5"): {"images": ["photos/0.jpg"] * 2, "configure": {"user_id": "x"}},
                ("InvalidField", "max_train_steps"): {
                    "images": ["photos/0.jpg"],
                    "configure": {"user_id": "x", "max_train_steps": "9"},
                },
            },
        ),
    ],
)
def test_requests_that_cannot_be_served_are_answered_by_name(bucket, function, bodies):
    records = []
    for (error, _), body in bodies.items():
        key = f"requests/{function}/{error}.json"
        bucket.put(key, json.dumps({"request_id": error} | body).encode())
        place = {"bucket": {"name": "b"}, "object": {"key": key, "size": 1}}
        records.append({"eventName": "ObjectCreated:Put", "s3": place})
    command = [sys.executable, "-m", "shared.cli", "invoke", function, bucket.address, "-"]
    text = json.dumps({"Records": records})
    done = subprocess.run(command, input=text, text=True, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for error, names in bodies:
        envelope = answer(bucket, function, error)
        assert envelope["code"] == "error"
        assert envelope["data"]["error"]["type"] == error
        assert names in envelope["message"]
