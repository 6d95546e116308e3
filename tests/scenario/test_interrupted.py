"""Ctrl-C at a terminal: everything ends within ten seconds, no process is left, and the next call goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from tests import pictures, zygotes
from tests.echo import until

ROOT = Path(__file__).parents[2]
SETTINGS = {"PHOTOG_SCAN__SECONDS": "0.3", "OMP_NUM_THREADS": "1"}
MOST_SECONDS = 10.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def started(log: Path, *words: object) -> "subprocess.Popen[bytes]":
    """The program, with Ctrl-C as a terminal leaves it."""
    command = [sys.executable, "-P", "-m", "shared.cli", *map(str, words)]
    with log.open("wb") as out:
        return zygotes.start(command, zygotes.HEAVY, cwd=ROOT, env=os.environ | SETTINGS, stdout=out, stderr=out)


def interrupted(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGINT) -> int:
    """Its exit status, which comes in time."""
    begun = time.monotonic()
    process.send_signal(number)
    status = process.wait(120)
    assert time.monotonic() - begun < MOST_SECONDS
    return status


def working_on(address: str) -> list[str]:
    """The processes that have the bucket among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has gone meanwhile
        if address in words:
            found.append(" ".join(words))
    return found


def trains(bucket: FolderBucket) -> bool:
    return any('"training"' in bucket.get(one.key).decode() for one in bucket.list("progress/train/"))


def test_portrait_and_up_end_on_ctrl_c_and_go_on_with_the_training(tmp_path):
    photos, log = tmp_path / "me", tmp_path / "log"
    photos.mkdir()
    for index, photo in enumerate(pictures.variations(pictures.hopper(), 6)):
        (photos / f"{index}.jpg").write_bytes(pictures.jpeg(photo))
    (tmp_path / "t.png").write_bytes(pictures.png(pictures.astronaut()[:300]))
    bucket = FolderBucket(tmp_path / "bucket")
    words = (
        "portrait",
        photos,
        "--template",
        tmp_path / "t.png",
        "--bucket",
        bucket.root,
        "--user",
        "grace",
        "--train",
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        process = started(log, *words)
        until(lambda: trains(bucket), 240)
        assert interrupted(process, number) == 130
        assert working_on(bucket.address) == []
        said = log.read_text()
        assert "the same command continues from there" in said
        assert f"photog forget {bucket.address} grace" in said
        for one in bucket.list("progress/"):
            bucket.delete(one.key)
    assert "requests without an answer (train-" in said, "the second call has told of what the first one left"
    process = started(log, "up", bucket.root)
    until(lambda: trains(bucket), 240)
    assert interrupted(process) == 0
    assert working_on(bucket.address) == []
    assert f"`photog up {bucket.root}` resumes them" in log.read_text()
    assert not any(one.key.endswith("/result.json") for one in bucket.list("results/train/"))
