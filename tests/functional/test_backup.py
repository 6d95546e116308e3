"""A bucket that is backed up and restored by the commands of docs/backup.md goes on where the copy was made."""

import json
import os
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from shared.buckets.aws_clients import S3Settings
from shared.buckets.base import Bucket
from shared.buckets.s3 import S3Bucket
from shared.contract.manifests import decode
from shared.events import ObjectCreated
from shared.lifecycle.claims import Claims, HeldClaim
from shared.lifecycle.invocation import Outcome
from shared.notify.bucket import BucketNotifier
from shared.operations.erasure import Erasure
from shared.operations.status import overview
from shared.settings import Limits, Scan
from shared.triggers import settled_index
from shared.triggers.scan import ScanTrigger
from tests.cloud import REGION
from tests.deployment import ROOT
from tests.documentation import commands
from tests.echo import QUICK, Echo, invocation, until

PAGE = ROOT / "docs/backup.md"
SCAN = Scan(seconds=0.05, settle_seconds=0.1)
COPY = [one.words for one in commands(PAGE) if one.words[0] in ("cp", "rm")]
LEFT_OUT = ("index/", "probes/", "failing/", "workers/")
RUN_HERE = ("waits", "runs")  # what is left to do in the copy


class Stops(BaseException):
    """The power fails."""


def drop(bucket: Bucket, request_id: str) -> ObjectCreated:
    key = f"requests/check/{request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id, "configure": {"user_id": "u"}}).encode())
    return ObjectCreated(key)


def fill(bucket: Bucket) -> None:
    """Leave two answered requests of one user, one that a dead worker ran, one that waits, and one told half."""
    for name in ("old", "new"):
        assert invocation(bucket, Echo()).receive(drop(bucket, name)) is Outcome.ANSWERED
    drop(bucket, "waits")
    running = Claims(bucket, "check", QUICK.lease, "dead").acquire("runs", drop(bucket, "runs").key, "")
    assert isinstance(running, HeldClaim)

    class Dies(BucketNotifier):
        def committed(self, function, event, envelope):
            raise Stops

    with pytest.raises(Stops):
        invocation(bucket, Echo(), hooks=[Dies(bucket)]).receive(drop(bucket, "told"))


def work_off(bucket: Bucket) -> Counter[str]:
    """Let a worker scan the bucket until nothing is left to do; return how often each request was run."""
    echo, stop = Echo(), threading.Event()
    invoked = invocation(bucket, echo, owner="restored", hooks=[BucketNotifier(bucket)])
    trigger = ScanTrigger(bucket, "check", SCAN)

    def is_done() -> bool:
        trigger.scan(invoked.receive, stop)
        invoked.tidy()
        left = overview(bucket, Limits())["check"]
        return not (left["waiting"] or left["running"] or list(bucket.list("progress/")))

    until(is_done)
    return Counter(echo.runs)


def serving(bucket: Bucket) -> str:
    return str(decode(bucket.get("users/u/model.json"))["artifact"].split("/")[2])


def hold_what_is_promised(restored: Bucket) -> None:
    """Fail unless the copy goes on as the page says."""
    before = {info.key: restored.get(info.key) for info in restored.list("results/")}
    assert not [info.key for info in restored.list("") if info.key.startswith(LEFT_OUT)]
    assert work_off(restored) == dict.fromkeys(RUN_HERE, 1), "and nothing that was answered"
    after = {info.key: restored.get(info.key) for info in restored.list("results/")}
    assert before.items() <= after.items()
    answer = decode(restored.get("results/check/runs/result.json"))
    assert answer["data"]["artifact"].startswith("results/check/runs/a2/"), "its next attempt"
    told = [decode(restored.get(info.key))["subject"] for info in restored.list("notifications/check/")]
    assert sorted(told) == ["runs", "told", "waits"], "the one that was told half too"
    newest = max(
        ("waits", "runs"), key=lambda name: decode(after[f"results/check/{name}/result.json"])["data"]["committed"]
    )
    assert serving(restored) == newest


@pytest.fixture
def saving_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an index be worth saving from the first settled request on."""
    monkeypatch.setattr(settled_index, "WORTH", 1)


def run(words: tuple[str, ...], folder: Path) -> None:
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


def test_the_pages_commands_back_up_and_restore_a_folder(tmp_path, saving_index):
    bucket = FolderBucket(tmp_path / "BUCKET")
    fill(bucket)
    assert serving(bucket) == "told"
    ScanTrigger(bucket, "check", SCAN).scan(lambda created, written=True: Outcome.ALREADY, threading.Event())
    bucket.put("index/check", b"of after the copy: it would hide what waits")
    assert [words[0] for words in COPY] == ["cp", "rm", "cp"]
    for words in COPY:
        run(words, tmp_path)
    for path in (tmp_path / "RESTORED").rglob("result.json"):
        os.utime(path, (1e9, 1e9 + ord(path.parent.name[0])))  # a copy may keep no time, in any order
    restored = FolderBucket(tmp_path / "RESTORED")
    assert serving(restored) == "told", "the newest, whatever the times say"
    hold_what_is_promised(restored)
    assert serving(bucket) == "told", "the first bucket is left alone"


def test_the_copy_of_a_bucket_in_use_is_run_twice_and_goes_into_an_empty_folder(tmp_path):
    """`cp -a BUCKET BACKUP` made BACKUP/BUCKET at the second time, and what had come since was in no backup."""
    bucket = FolderBucket(tmp_path / "BUCKET")
    (tmp_path / "RESTORED").mkdir()
    backup, *_, restore = COPY
    for name in ("old", "new"):
        invocation(bucket, Echo()).receive(drop(bucket, name))
        run(backup, tmp_path)
    run(restore, tmp_path)
    assert overview(FolderBucket(tmp_path / "RESTORED"), Limits())["check"]["ok"] == ["new", "old"]


def test_a_copy_of_a_bucket_in_another_goes_on_too(tmp_path, cloud):
    """As `aws s3 sync` makes it: all times are new."""
    settings = S3Settings(endpoint=cloud.endpoint, region=REGION)
    bucket, restored = S3Bucket(cloud.bucket(), settings), S3Bucket(cloud.bucket(), settings)
    fill(bucket)
    for info in sorted(bucket.list(""), key=lambda info: info.key, reverse=True):
        if not info.key.startswith(LEFT_OUT):
            restored.put(info.key, bucket.get(info.key))
    hold_what_is_promised(restored)


def test_the_excluded_prefixes_are_those_of_the_table():
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| `index/`"))
    (sync,) = [one.words for one in commands(PAGE) if one.words[:3] == ("aws", "s3", "sync")]
    excluded = {sync[place + 1].removesuffix("*") for place, word in enumerate(sync) if word == "--exclude"}
    assert excluded == set(LEFT_OUT)
    assert all(f"`{prefix}`" in row for prefix in LEFT_OUT)
    assert {word.removeprefix("BACKUP/") + "/" for word in COPY[1][2:]} == {*LEFT_OUT, ".photog/"}


def test_who_was_forgotten_since_the_backup_is_back_until_it_is_said_again(tmp_path):
    bucket = FolderBucket(tmp_path / "BUCKET")
    invocation(bucket, Echo()).receive(drop(bucket, "r"))
    for words in COPY:
        run(words, tmp_path)
    Erasure(bucket, QUICK.lease).forget("u")
    restored = FolderBucket(tmp_path / "RESTORED")
    assert list(restored.list("users/u/"))
    Erasure(restored, QUICK.lease).forget("u")
    assert [info.key for info in restored.list("")] == []
