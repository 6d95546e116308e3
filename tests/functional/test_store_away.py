"""The command line on an unavailable store: one line, no traceback, and the status on which supervisors restart."""

import base64
import json
import os
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shared.buckets import FolderBucket, MemoryBucket
from shared.cli import app
from shared.cli.requests import save_portrait
from shared.operations.client import Client
from tests.unprivileged import place, unprivileged

AWAY, WRONG = 75, 2


def photog(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def refused(done: Result, why: str, status: int = AWAY) -> None:
    assert done.exit_code == status, done.output
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("photog: ")
    assert why in line
    assert not done.stdout.strip()


VERBS = [("worker", "check"), ("up",), ("status",), ("http", "check"), ("sweep",)]


@pytest.mark.parametrize("verb", VERBS)
def test_what_cannot_be_a_bucket(verb, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    refused(photog(*verb, tmp_path / "file"), "is a file", WRONG)
    refused(photog(*verb, tmp_path / "round"), "loop", WRONG)


@pytest.mark.parametrize("verb", [*VERBS, ("submit", "check"), ("forget",)])
def test_nobody_listening(verb, cloud, monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTOG_S3__ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PHOTOG_S3__TRIES", "1")
    manifest = tmp_path / "m.json"
    manifest.write_text('{"request_id": "1", "images": ["x.jpg"]}')
    last = {"submit": [manifest], "forget": ["ann"]}.get(verb[0], [])
    done = photog(*verb, "s3://b", *last)
    assert done.exit_code == AWAY
    assert "Could not connect" in done.stderr.strip().splitlines()[-1]


def test_a_bucket_that_may_not_be_written_is_read_and_starts_no_worker():
    with place() as folder, unprivileged():
        bucket = FolderBucket(folder)
        bucket.put("requests/check/r.json", b'{"request_id": "r", "images": ["x.jpg"]}')
        (folder / ".photog").rmdir()
        folder.chmod(0o555)
        try:
            status = photog("status", folder)
            assert status.exit_code == 0
            assert "waiting" in status.stdout
            refused(photog("up", folder), f"let user {os.geteuid()} read and write it")
            assert not (folder / ".photog").exists()
        finally:
            folder.chmod(0o755)


@pytest.mark.parametrize("verb", [("worker", "check"), ("up",)])
def test_a_bucket_whose_volume_is_not_mounted_yet_is_waited_for_with_one_line(verb, monkeypatch):
    """A folder cannot be made in /proc, just as a user cannot make one where volumes are mounted."""

    class Waited(Exception):
        pass

    looks = []

    def wait(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise Waited

    monkeypatch.setattr(time, "sleep", wait)
    done = photog(*verb, "/proc/volume/bucket")
    assert isinstance(done.exception, Waited)
    [line] = done.stderr.strip().splitlines()
    assert "/proc/volume/bucket cannot be a bucket: it does not exist" in line
    assert "mount" in line


def test_other_verbs_do_not_wait_for_a_bucket_that_is_not_there():
    refused(photog("status", "/proc/volume/bucket"), "there is no bucket /proc/volume/bucket", WRONG)


def test_a_name_that_can_be_no_key_is_wrong_usage(tmp_path):
    for name in ("..", "a/../../b", "a\\b"):
        done = photog("status", tmp_path, name)
        assert done.exit_code == 2
        assert done.stderr.startswith("photog: ")


def test_what_is_no_address_is_wrong_usage():
    for address in ("ftp://x", "s3://", "s3://b?x=1"):
        done = photog("status", address)
        assert done.exit_code == 2
        assert "is not a bucket" in done.stderr


UNREADABLE = "/proc/self/mem"  # a file by its looks, whose first byte nobody can read


@pytest.mark.parametrize(
    "words",
    [
        ("check", "B", UNREADABLE),
        ("train", "B", UNREADABLE, "--user", "ann"),
        ("generate", "B", "--template", UNREADABLE, "--user", "ann"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_a_status_of_its_own(words, tmp_path):
    FolderBucket(tmp_path).put("users/ann/model.json", b"{}")
    done = photog(*(tmp_path if word == "B" else word for word in words))
    assert done.exit_code == 74
    [line] = done.stderr.strip().splitlines()
    assert re.fullmatch(r"photog: .*Input/output error.*", line)


def test_a_portrait_that_does_not_fit_on_the_disk_is_one_line_and_a_status_of_its_own(tmp_path):
    picture = {"image": base64.b64encode(b"png").decode()}
    envelope = {"request_id": "g", "code": "OK", "message": "success", "data": picture}
    bucket = FolderBucket(tmp_path)
    bucket.put("t.png", b"a template")
    bucket.put("users/ann/model.json", b"{}")
    bucket.put("results/generate/g/result.json", json.dumps(envelope).encode())
    done = photog("generate", tmp_path, "--template", "t.png", "--user", "ann", "--id", "g", "--out", "/dev/full")
    assert done.exit_code == 74
    [line] = done.stderr.strip().splitlines()
    assert re.fullmatch("photog: /dev/full: No space left on device", line)


def test_no_half_of_a_portrait_is_left(tmp_path, monkeypatch):
    def broken(path, data):
        path.open("wb").write(data[:2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", broken)
    data = {"image": base64.b64encode(b"png").decode()}
    with pytest.raises(OSError, match="No space"):
        save_portrait(Client(MemoryBucket()), {"data": data}, tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_does_not_fit_into_the_bucket_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor, data, real=os.write):
        if len(data) > 1000:
            real(descriptor, data[:1000])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    (tmp_path / "big.jpg").write_bytes(b"x" * 5000)
    monkeypatch.setattr(os, "write", full)
    (tmp_path / "bucket").mkdir()
    refused(photog("check", tmp_path / "bucket", tmp_path / "big.jpg"), "the disk is full")
    assert list((tmp_path / "bucket/.photog").iterdir()) == []


@pytest.mark.parametrize("key", ["requests/check/../r.json", "requests/check//r.json", "requests/check/a\\b.json"])
def test_a_job_whose_key_can_be_none_is_wrong_usage_and_not_tried_again(key, tmp_path):
    done = photog("job", "check", tmp_path, key)
    assert done.exit_code == 2
    assert "cannot be a key" in done.stderr.strip().splitlines()[-1]
