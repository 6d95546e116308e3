"""A real training worker, killed with -9 after its first checkpoint: the next one goes on from there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from shared.buckets import FolderBucket
from tests import pictures
from tests.echo import until
from tests.tiny_base import make_tiny_base

ROOT = Path(__file__).parents[2]
STEPS, SPACING = 60, 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    made = FolderBucket(tmp_path / "bucket")
    small = cv2.resize(pictures.hopper(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for index, photo in enumerate(pictures.variations(small, 7)):
        made.put(f"photos/{index}.jpg", pictures.jpeg(photo))
    return made


def submit(bucket: FolderBucket, request_id: str) -> None:
    configure = {"user_id": "grace", "max_train_steps": STEPS, "val_save_checkpointing_steps": SPACING}
    body = {"request_id": request_id, "images": [f"photos/{index}.jpg" for index in range(7)], "configure": configure}
    bucket.put(f"requests/train/{request_id}.json", json.dumps(body).encode())


def worker(bucket: FolderBucket, base: Path) -> "subprocess.Popen[bytes]":
    settings = {
        "PHOTOG_LEASE__SECONDS": "2",
        "PHOTOG_SCAN__SECONDS": "0.3",
        "OMP_NUM_THREADS": "1",
        "PHOTOG_MODEL__PATH": str(base),
        "PHOTOG_MODEL__DEVICE": "cpu",
    }
    command = [sys.executable, "-m", "shared.cli", "worker", "train", bucket.address]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | settings)


def data(bucket: FolderBucket, request_id: str) -> dict | None:
    path = bucket.root / "results" / "train" / request_id / "result.json"
    return json.loads(path.read_text())["data"] if path.exists() else None


def test_a_killed_training_resumes_and_ends_with_the_adapter_of_an_unharmed_one(bucket, tmp_path):
    base = make_tiny_base(tmp_path / "tiny")
    submit(bucket, "killed")
    first = worker(bucket, base)
    until(lambda: bucket.head("results/train/killed/a1/scratch/checkpoint.safetensors"), 200)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert data(bucket, "killed") is None
    second = worker(bucket, base)
    try:
        until(lambda: data(bucket, "killed"), 200)
        submit(bucket, "unharmed")
        until(lambda: data(bucket, "unharmed"), 200)
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(120) == 0
    killed, unharmed = data(bucket, "killed"), data(bucket, "unharmed")
    assert killed["resumed_at"] >= SPACING
    assert killed["lora"] == "results/train/killed/a2/lora.safetensors"
    assert bucket.get(killed["lora"]) == bucket.get(unharmed["lora"])
    assert [one["step"] for one in killed["checkpoints"]] == list(range(0, STEPS + 1, SPACING))
    assert {info.key.split("/")[3] for info in bucket.list("results/train/killed/")} == {"a2", "result.json"}
    assert not [info.key for info in bucket.list("results/train/") if "/scratch/" in info.key]
