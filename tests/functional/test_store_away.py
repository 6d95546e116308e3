"""The command line over a store that does not serve: one line, no trace, and the status that supervisors restart on."""

import os

import pytest
from typer.testing import CliRunner, Result

from shared.buckets import FolderBucket
from shared.cli import app
from tests.unprivileged import place, unprivileged

AWAY = 75


def photog(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def refused(done: Result, why: str) -> None:
    assert done.exit_code == AWAY, done.output
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("photog: ")
    assert why in line
    assert not done.stdout.strip()


VERBS = [("worker", "check"), ("up",), ("status",), ("http", "check"), ("sweep",)]


@pytest.mark.parametrize("verb", VERBS)
def test_what_cannot_be_a_bucket(verb, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    refused(photog(*verb, tmp_path / "file"), "is a file")
    refused(photog(*verb, tmp_path / "round"), "circle")


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
    """/proc holds no folder of ours, as a place of mounts holds none of a user's."""

    class Waited(Exception):
        pass

    looks = []

    def wait(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise Waited

    monkeypatch.setattr("shared.cli.console.time.sleep", wait)
    done = photog(*verb, "/proc/volume/bucket")
    assert isinstance(done.exception, Waited)
    [line] = done.stderr.strip().splitlines()
    assert "/proc/volume/bucket cannot be a bucket: it is not there" in line
    assert "mount" in line


def test_other_verbs_do_not_wait_for_a_bucket_that_is_not_there():
    refused(photog("status", "/proc/volume/bucket"), "is not there")


def test_a_name_that_can_be_no_key_is_wrong_usage(tmp_path):
    for name in ("..", "a/../../b", "a\\b"):
        done = photog("status", tmp_path, name)
        assert done.exit_code == 2
        assert done.stderr.startswith("photog: ")


def test_what_is_no_address_is_wrong_usage():
    for address in ("ftp://x", "s3://", "s3://b?x=1"):
        done = photog("status", address)
        assert done.exit_code == 2
        assert "is no bucket" in done.stderr
