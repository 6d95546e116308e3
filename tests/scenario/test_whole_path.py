"""train and generate as real processes on a real folder, each killed in the middle of its work."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.buckets import FolderBucket
from tests import pictures, zygotes
from tests.contract import require_contract
from tests.echo import until

ROOT = Path(__file__).parents[2]
SETTINGS = {"PHOTOG_LEASE__SECONDS": "2", "PHOTOG_SCAN__SECONDS": "0.3", "OMP_NUM_THREADS": "1"}
STEPS, SPACING = 20, 10
TRAIN = {"user_id": "grace", "max_train_steps": STEPS, "val_save_checkpointing_steps": SPACING}
DIFFUSION_STEPS = {"first_diffusion_steps": 60, "second_diffusion_steps": 10}  # to be killed within the first

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> FolderBucket:
    made = FolderBucket(tmp_path_factory.mktemp("path") / "bucket")
    for index, photo in enumerate(pictures.variations(pictures.hopper(), 6)):
        made.put(f"photos/{index}.jpg", pictures.jpeg(photo))
    made.put("templates/t.png", pictures.png(pictures.astronaut()[:300]))
    return made


def killed_once(
    bucket: FolderBucket,
    function: str,
    body: dict,
    reached: Callable[[], object],
    afterwards: Callable[[], None] = lambda: None,
) -> dict:
    """Submit, kill the worker with -9 once `reached`, let another one answer, and do what comes `afterwards`."""
    submit(bucket, function, body)
    first = start(bucket, function)
    until(reached, 240)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert answer(bucket, function, body["request_id"]) is None
    second = start(bucket, function)
    try:
        until(lambda: answer(bucket, function, body["request_id"]), 400)
        afterwards()
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(120) == 0
    envelope = answer(bucket, function, body["request_id"])
    assert envelope is not None
    require_contract(f"{function}.answer", envelope)
    assert envelope["code"] == "OK", envelope
    folder = f"results/{function}/{body['request_id']}/"
    assert {info.key.split("/")[3] for info in bucket.list(folder)} == {"a2", "result.json"}
    return envelope["data"]


def submit(bucket: FolderBucket, function: str, body: dict) -> None:
    bucket.put(f"requests/{function}/{body['request_id']}.json", json.dumps(body).encode())


def start(bucket: FolderBucket, function: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "shared.cli", "worker", function, bucket.address]
    modules = zygotes.LIGHT if function == "check" else zygotes.HEAVY
    return zygotes.start(command, modules, cwd=ROOT, env=os.environ | SETTINGS)


def said(bucket: FolderBucket, function: str, request_id: str) -> str:
    path = bucket.root / "progress" / function / f"{request_id}.json"
    return json.loads(path.read_text())["data"]["stage"] if path.exists() else ""


def answer(bucket: FolderBucket, function: str, request_id: str) -> dict | None:
    path = bucket.root / "results" / function / request_id / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def refused(bucket: FolderBucket, function: str, bodies: dict[tuple[str, str], dict]) -> None:
    """Submit requests that cannot be served, by the error's type and a word of its message; hold that they are told."""
    for (error, _), body in bodies.items():
        submit(bucket, function, {"request_id": error} | body)
    until(lambda: all(answer(bucket, function, error) for error, _ in bodies), 240)
    for error, word in bodies:
        envelope = answer(bucket, function, error)
        assert envelope is not None
        require_contract(f"{function}.answer", envelope)
        assert envelope["code"] == "error"
        assert envelope["data"]["error"]["type"] == error
        assert word in envelope["message"]


def test_a_training_killed_in_the_middle_is_resumed_and_ends_as_an_unharmed_one_and_serves_the_user(bucket):
    """The second worker goes on from the checkpoint of the first, and answers other requests as well."""
    photos = [f"photos/{index}.jpg" for index in range(6)]
    body = {"request_id": "t1", "images": photos, "configure": TRAIN}
    unharmed = {"request_id": "t2", "images": photos, "configure": TRAIN | {"user_id": "heidi"}}
    few = {"images": photos[:1] * 2, "configure": {"user_id": "x"}}
    text = {"images": photos[:1], "configure": {"user_id": "x", "max_train_steps": "9"}}

    def afterwards() -> None:
        submit(bucket, "train", unharmed)
        refused(bucket, "train", {("TooFewPhotos", "5"): few, ("InvalidField", "max_train_steps"): text})
        until(lambda: answer(bucket, "train", "t2"), 400)

    def saved() -> object:
        return bucket.head("results/train/t1/a1/scratch/checkpoint.safetensors")

    data = killed_once(bucket, "train", body, saved, afterwards)
    assert data["resumed_at"] >= SPACING
    assert data["lora"] == "results/train/t1/a2/lora.safetensors"
    assert bucket.head(data["lora"]).size > 10_000
    assert bucket.get(data["lora"]) == bucket.get("results/train/t2/a1/lora.safetensors")
    assert [one["step"] for one in data["checkpoints"]] == list(range(0, STEPS + 1, SPACING))
    assert not [info.key for info in bucket.list("results/train/") if "/scratch/" in info.key]
    model = json.loads(bucket.get("users/grace/model.json"))
    assert model["lora"] == data["lora"]
    assert all(bucket.head(reference["key"]) for reference in model["references"])


def test_a_portrait_killed_in_the_middle_is_made_by_the_next_worker(bucket):
    if bucket.head("users/grace/model.json") is None:
        pytest.skip("needs the training of the test before")
    configure = {"user_id": "grace", "image_format": "png", "seed": 5} | DIFFUSION_STEPS
    body = {"request_id": "p1", "template_image": "templates/t.png", "configure": configure}
    nobody = {"template_image": "templates/t.png", "configure": {"user_id": "nobody"}}
    missing = {"template_image": "none.png", "configure": {"user_id": "x"}}
    bodies = {("UnknownUser", "nobody"): nobody, ("PhotoUnavailable", "none.png"): missing}
    data = killed_once(
        bucket,
        "generate",
        body,
        lambda: "diffusion-1" in said(bucket, "generate", "p1"),
        lambda: refused(bucket, "generate", bodies),
    )
    portrait = cv2.imdecode(np.frombuffer(bucket.get(data["image_key"]), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    template = pictures.astronaut()[:300]
    assert portrait.shape == template.shape
    left, top, right, bottom = data["faces"][0]["box"]
    face = np.abs(portrait.astype(int) - template)[top:bottom, left:right]
    assert face.mean() > 2, "the face has changed"
    assert np.array_equal(portrait[:, :60], template[:, :60]), "far from the face nothing has"
    assert data["faces"][0]["similarity"]["after"] > data["faces"][0]["similarity"]["before"]


def test_one_event_may_name_several_requests_on_standard_input(bucket):
    """`photog invoke` answers each of them, whatever is wrong with it."""
    records = []
    for name, images in (("gone", ["none.png"]), ("text", "photos/0.jpg")):
        submit(bucket, "check", {"request_id": name, "images": images})
        place = {"bucket": {"name": "b"}, "object": {"key": f"requests/check/{name}.json", "size": 1}}
        records.append({"eventName": "ObjectCreated:Put", "s3": place})
    command = [sys.executable, "-m", "shared.cli", "invoke", "check", bucket.address, "-"]
    event = json.dumps({"Records": records})
    done = subprocess.run(command, input=event, text=True, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert answer(bucket, "check", "gone")["data"]["check_results"][0]["code"] == 2
    assert answer(bucket, "check", "text")["data"]["error"]["type"] == "InvalidField"
