"""Strays among the requests: each is logged once, and shown by `photog status` with the reason."""

import json
import logging
import os
import threading

import pytest

from shared.buckets import FolderBucket, MemoryBucket
from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import S3Bucket
from shared.events import put_event
from shared.lifecycle.unread import MOST_TOLD, StrayLog, why_unread
from shared.operations.status import overview
from shared.operations.sweep import Sweep
from shared.runtime.context import Context
from shared.settings import Lease, Limits, Scan, Settings
from shared.triggers.folder import FolderTrigger
from shared.triggers.scan import ScanTrigger
from tests.cloud import REGION
from tests.echo import Echo, invocation

SCAN = Scan(seconds=0.01, settle_seconds=5)
REQUEST = b'{"request_id": "r1"}'
STRAYS = {
    "requests/check/46.json.txt": "rename it to 46.json",
    "requests/check/sub/note": "does not end with .json",
    "requests/check/.hidden.json": "begins with a dot",
    "requests/47.json": "no function's folder; put it into requests/check/",
    "requests/Check/": "folder is requests/check/, in lower case",
    "requests/checks/": "no function with that name",
    "Requests/check/47.json": "put it under requests/check/47.json",
    "REQUESTS/Check/sub/48.json": "put it under requests/check/sub/48.json",
}
NOBODYS = [
    "requests/check/.DS_Store", "requests/check/._45.json", "requests/check/Thumbs.db", "requests/.gitkeep",
    "requests/check/.a.json.swp", "requests/check/desktop.ini", "photos/a.json.txt", "results/check/a.txt",
]  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "folder", "s3"])
def bucket(request, tmp_path):
    if request.param == "memory":
        return MemoryBucket()
    if request.param == "folder":
        return FolderBucket(tmp_path / "bucket")
    cloud = request.getfixturevalue("cloud")
    return S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION), "some/prefix")


def fill(bucket) -> None:
    for key in (*STRAYS, *NOBODYS):
        bucket.put(f"{key}50.json" if key.endswith("/") else key, REQUEST)
    bucket.put("requests/check/45.JSON", b'{"request_id": "45"}')
    bucket.put("requests/check/empty.txt", b"")


def look(bucket, function="check", kind=ScanTrigger, seconds=(0, 6, 6)) -> None:
    """A worker that looks a few times, with this many seconds in between."""
    clock = Clock()
    trigger, receive = kind(bucket, function, SCAN, clock), invocation(bucket, Echo()).receive
    for step in seconds:
        clock.now += step
        trigger.scan(receive, threading.Event())


def told(caplog) -> dict[str, str]:
    lines = [record.getMessage() for record in caplog.records if "is not read: " in record.getMessage()]
    assert len(set(lines)) == len(lines), "each once"
    return dict(line.split(" is not read: ") for line in lines)


def shown(bucket, function="check") -> dict[str, str]:
    return {one["key"]: one["why"] for one in overview(bucket, Limits())[function].get("unread", [])}


def assert_all_are(found: dict[str, str], expected: dict[str, str]) -> None:
    assert found.keys() == expected.keys()
    for key, why in expected.items():
        assert why in found[key]


def test_each_is_told_once_in_the_log_and_shown_by_the_status_and_the_others_are_answered(bucket, caplog):
    fill(bucket)
    look(bucket)
    assert_all_are(told(caplog), STRAYS)
    assert_all_are(shown(bucket), STRAYS)
    assert json.loads(bucket.get("results/check/45/result.json"))["code"] == "OK"
    assert list(bucket.folders("results/check/")) == ["45"]
    elsewhere = {key: why for key, why in STRAYS.items() if key in ("requests/47.json", "requests/checks/")}
    assert_all_are(shown(bucket, "train"), elsewhere)


def test_what_is_renamed_in_a_moment_is_not_told(caplog):
    bucket = MemoryBucket()
    bucket.put("requests/check/a.json.part", REQUEST)
    look(bucket, seconds=(0, 2, 2))
    bucket.delete("requests/check/a.json.part")
    bucket.put("requests/check/b.json.part", REQUEST)
    look(bucket, seconds=(0, 2))
    assert told(caplog) == {}
    assert list(shown(bucket)) == ["requests/check/b.json.part"], "who asks is told at once"


def test_a_thousand_of_them_are_twenty_lines_and_one_that_says_so(caplog):
    bucket = MemoryBucket()
    for number in range(1000):
        bucket.put(f"requests/check/{number}.txt", REQUEST)
        bucket.put(f"requests/{number}.json", REQUEST)
    look(bucket)
    lines = [record.getMessage() for record in caplog.records if "not read" in record.getMessage()]
    assert len(lines) == MOST_TOLD + 1
    assert "photog status" in lines[-1]


@pytest.fixture
def linked(tmp_path) -> FolderBucket:
    bucket = FolderBucket(tmp_path / "bucket")
    bucket.put("real.json", b'{"request_id": "48"}')
    bucket.put("other/49.json", b'{"request_id": "49"}')
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/50.json").write_bytes(b'{"request_id": "50"}')
    bucket.put("requests/check/sub/r1.json", REQUEST)
    return bucket


def link(bucket: FolderBucket) -> dict[str, str]:
    folder = bucket.root / "requests/check"
    (folder / "48.json").symlink_to("../../real.json")
    (folder / "sub/linked").symlink_to("../../../other")
    (folder / "out").symlink_to(bucket.root.parent / "outside")
    (folder / "50.json").symlink_to(bucket.root.parent / "outside/50.json")
    (folder / "broken.json").symlink_to("nowhere.json")
    (folder / "round").symlink_to("round")
    (folder / ".#editing.json").symlink_to("ann@host.123")
    (folder.parent / "Train").symlink_to("check")
    os.mkfifo(folder / "pipe.json")
    return {
        "requests/check/48.json": "it is a link; put the file itself there",
        "requests/check/sub/linked": "link to a folder, and such links are not followed",
        "requests/check/out": "out of the bucket, and such links are never followed",
        "requests/check/50.json": "out of the bucket, and such links are never followed",
        "requests/check/broken.json": "it is a broken link",
        "requests/check/round": "it is a broken link",
        "requests/check/pipe.json": "it is not a regular file",
    }


@pytest.mark.parametrize("kind", [ScanTrigger, FolderTrigger])
def test_links_are_not_followed_and_told_of(linked, kind, caplog):
    expected = link(linked)
    look(linked, kind=kind)
    assert_all_are(told(caplog), expected)
    assert_all_are(shown(linked), expected)
    assert_all_are(shown(linked, "train"), {"requests/Train": "link to a folder"})
    assert list(linked.folders("results/check/")) == ["r1"]


def test_a_link_that_the_watcher_names_is_no_more_followed_than_one_that_was_there(linked):
    link(linked)
    trigger = FolderTrigger(linked, "check", SCAN, clock := Clock())
    trigger.scan(invocation(linked, Echo()).receive, threading.Event())
    linked.put("other/new.json", b'{"request_id": "51"}')
    names = ("48.json", "50.json", "out", "out/50.json", "sub/linked", "sub/linked/new.json", "sub")
    trigger._named = {str(linked.root / "requests/check" / name) for name in names}
    clock.now += 0.001
    trigger.scan(invocation(linked, Echo()).receive, threading.Event())
    assert list(linked.folders("results/check/")) == ["r1"]


def test_names_that_no_key_can_have_are_told_on_a_disk_too(tmp_path, caplog):
    bucket = FolderBucket(tmp_path / "bucket")
    expected = {
        "requests/check/a\\b.json": "put it under requests/check/a/b.json",
        "requests/check/odd\x07/": "no object of photog's can have its key",
        "requests\\check\\c.json": "put it under requests/check/c.json",
    }
    (bucket.root / "requests/check/odd\x07").mkdir(parents=True)
    for name in expected:
        if not name.endswith("/"):
            (bucket.root / name).write_bytes(REQUEST)
    look(bucket, kind=FolderTrigger)
    assert_all_are(told(caplog), expected)
    assert_all_are(shown(bucket), expected)


def test_a_function_s_folder_may_be_a_link_within_the_bucket(tmp_path, caplog):
    bucket = FolderBucket(tmp_path / "bucket")
    bucket.put("inbox/r1.json", REQUEST)
    (bucket.root / "requests").mkdir()
    (bucket.root / "requests/check").symlink_to("../inbox")
    look(bucket, kind=FolderTrigger)
    assert list(bucket.folders("results/check/")) == ["r1"]
    assert told(caplog) == shown(bucket) == {}


def test_events_and_sweeps_tell_of_them_too(caplog):
    bucket = MemoryBucket()
    bucket.put("requests/check/46.json.txt", REQUEST)
    context = Context(bucket, Settings(), load=lambda name, settings: Echo())
    event = put_event("b", bucket.head("requests/check/46.json.txt"))
    assert context.handle("check", event) == {"outcomes": {"requests/check/46.json.txt": "ignored"}}
    assert list(told(caplog)) == ["requests/check/46.json.txt"]
    caplog.clear()
    assert Sweep(bucket, Limits(), Lease()).find(["check"], 0) == []
    assert list(told(caplog)) == ["requests/check/46.json.txt"]


def test_a_request_of_another_function_and_a_folder_s_marker_are_none(caplog):
    with caplog.at_level(logging.WARNING):
        for key in ("requests/train/a.json", "requests/check/", "requests/", "results/check/a/result.json", "a.json"):
            assert why_unread(key) is None
            StrayLog().tell_of(key)
    assert told(caplog) == {}
