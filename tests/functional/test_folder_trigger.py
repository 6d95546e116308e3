"""Requests from a watched folder: each is offered exactly once, however it got there."""

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from shared.lifecycle.invocation import Outcome
from shared.settings import Scan
from shared.triggers.folder import FolderTrigger
from tests.clock import Clock
from tests.echo import Echo, invocation, until

SCAN = Scan(seconds=0.3, settle_seconds=1.0)


class Running:
    """A trigger in a thread, serving an echo function."""

    def __init__(self, bucket: FolderBucket, scan: Scan = SCAN, function: Echo | None = None) -> None:
        self.function, self.bucket, self.stop = function or Echo(), bucket, threading.Event()
        self.trigger = FolderTrigger(bucket, "check", scan)
        receive = invocation(bucket, self.function).receive
        self.thread = threading.Thread(target=self.trigger.run, args=(receive, self.stop))

    def __enter__(self) -> "Running":
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def answered(self, request_id: str) -> dict | None:
        path = self.bucket.root / f"results/check/{request_id}/result.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


def removed(path: Path) -> bool:
    """Remove a folder into which a worker may be writing, retrying on "not empty"."""
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def manifest(request_id: str) -> bytes:
    return json.dumps({"request_id": request_id, "padding": "x" * 2000}).encode()


def folder(bucket: FolderBucket, *names: str) -> Path:
    path = bucket.root.joinpath("requests", "check", *names)
    path.mkdir(parents=True, exist_ok=True)
    return path


def test_what_lies_there_before_the_start_is_answered(bucket):
    (folder(bucket) / "r1.json").write_bytes(manifest("r1"))
    with Running(bucket) as running:
        until(lambda: running.answered("r1"))
    assert running.function.runs == ["r1"]


def test_a_file_written_slowly_is_answered_once_and_whole(bucket):
    with Running(bucket) as running:
        text = manifest("slow")
        with (folder(bucket) / "slow.json").open("wb") as file:
            for start in range(0, len(text), 400):
                file.write(text[start : start + 400])
                file.flush()
                time.sleep(0.25)
        until(lambda: running.answered("slow"))
    assert running.answered("slow")["code"] == "OK"
    assert running.function.runs == ["slow"]
    assert [path.name for path in bucket.root.joinpath("results/check").iterdir()] == ["slow"], "no half was answered"


def test_an_empty_file_that_is_filled_later_is_answered(bucket):
    with Running(bucket) as running:
        path = folder(bucket) / "late.json"
        path.touch()
        time.sleep(2.0)
        path.write_bytes(manifest("late"))
        until(lambda: running.answered("late"))
    assert running.function.runs == ["late"]


def test_moved_in_and_renamed_from_a_part_file(bucket, tmp_path):
    with Running(bucket) as running:
        (tmp_path / "moved.json").write_bytes(manifest("moved"))
        os.replace(tmp_path / "moved.json", folder(bucket) / "moved.json")
        part = folder(bucket) / "renamed.json.part"
        part.write_bytes(manifest("renamed"))
        os.replace(part, folder(bucket) / "renamed.json")
        until(lambda: running.answered("moved") and running.answered("renamed"))
    assert sorted(running.function.runs) == ["moved", "renamed"]


def test_new_sub_folders_made_and_filled_at_once_and_a_tree_moved_in(bucket, tmp_path):
    names = [f"n{number}" for number in range(12)]
    with Running(bucket) as running:
        time.sleep(0.5)
        for name in names:
            (folder(bucket, name, "node_modules") / "x.json").write_bytes(manifest(name))
        tree = tmp_path / "tree" / "deep"
        tree.mkdir(parents=True)
        (tree / "x.json").write_bytes(manifest("tree"))
        shutil.move(tmp_path / "tree", folder(bucket) / "tree")
        until(lambda: all(running.answered(name) for name in [*names, "tree"]))
    assert sorted(running.function.runs) == sorted([*names, "tree"])


def test_copied_twice_is_answered_once(bucket):
    with Running(bucket) as running:
        for name in ("a.json", "b.json"):
            (folder(bucket) / name).write_bytes(manifest("same"))
        until(lambda: running.answered("same"))
        (folder(bucket) / "c.json").write_bytes(manifest("same"))
        os.utime(folder(bucket) / "a.json")
        time.sleep(1.0)
    assert running.function.runs == ["same"]
    assert len(list(bucket.root.joinpath("results/check/same").glob("*.json"))) == 1


def test_text_that_never_becomes_an_object_is_answered_with_an_error_once_it_has_settled(bucket):
    with Running(bucket) as running:
        (folder(bucket) / "broken.json").write_bytes(b'{"request_id": "broken", ')
        time.sleep(0.6)
        assert not bucket.root.joinpath("results").exists(), "it may still be half-written"
        until(lambda: list(bucket.root.glob("results/check/invalid-*/result.json")))
        (folder(bucket) / "good.json").write_bytes(manifest("good"))
        until(lambda: running.answered("good"))


def test_a_removed_request_folder_is_made_again_and_watched(bucket):
    with Running(bucket) as running:
        time.sleep(0.4)
        shutil.rmtree(bucket.root / "requests")
        time.sleep(0.8)
        (folder(bucket) / "r1.json").write_bytes(manifest("r1"))
        until(lambda: running.answered("r1"))


def test_a_bucket_that_was_removed_and_made_anew_is_served_and_watched_again(bucket, caplog):
    """The scan is an hour away, so that only a watcher of the new folder can have seen the second request."""
    caplog.set_level("INFO")
    with Running(bucket, Scan(seconds=0.3)) as running:
        until(lambda: folder(bucket).exists())
        time.sleep(0.4)
        for turn in range(2):
            until(lambda: removed(bucket.root))
            time.sleep(1.2)
            assert not bucket.root.exists(), "who removed it may want to mount something there"
            (folder(bucket) / f"first{turn}.json").write_bytes(manifest(f"first{turn}"))
            until(lambda turn=turn: running.answered(f"first{turn}"))
            running.trigger._listed_at = float("inf")
            running.trigger._scan = Scan(seconds=3600)
            time.sleep(0.5)
            (folder(bucket) / f"second{turn}.json").write_bytes(manifest(f"second{turn}"))
            until(lambda turn=turn: running.answered(f"second{turn}"), 3)
            running.trigger._scan = Scan(seconds=0.3)
    assert [one.levelname for one in caplog.records if "does not exist" in one.message] == ["ERROR"] * 2, "once a time"
    assert not [one for one in caplog.records if one.exc_info]
    assert len([one for one in caplog.records if "available again" in one.message]) == 2


def test_a_request_that_runs_while_the_bucket_is_removed_makes_it_no_more(bucket, caplog):
    def remove(body, workspace):
        if body["request_id"] == "r1":
            until(lambda: removed(bucket.root))
            workspace.progress("on", 1, 2)
            workspace.save("late.txt", b"x")

    with Running(bucket, Scan(seconds=0.1), Echo(remove)) as running:
        (folder(bucket) / "r1.json").write_bytes(manifest("r1"))
        until(lambda: not bucket.root.exists())
        time.sleep(1.2)
        assert not bucket.root.exists()
        assert "does not exist: make it, or mount its volume" in caplog.text
        (folder(bucket) / "r2.json").write_bytes(manifest("r2"))
        until(lambda: running.answered("r2"))


@pytest.mark.parametrize("how", ["replaced", "made anew at once"])
def test_a_folder_that_takes_the_bucket_s_place_is_watched(bucket, tmp_path, how):
    with Running(bucket) as running:
        time.sleep(0.5)
        if how == "replaced":
            (tmp_path / "other/requests/check").mkdir(parents=True)
            bucket.root.rename(tmp_path / "aside")
            (tmp_path / "other").rename(bucket.root)
        else:
            shutil.rmtree(bucket.root)
            folder(bucket)
        running.trigger._scan = Scan(seconds=3600)
        time.sleep(1.0)
        (folder(bucket) / "r1.json").write_bytes(manifest("r1"))
        until(lambda: running.answered("r1"), 3)


def test_a_volume_that_is_mounted_over_the_bucket_is_served(bucket):
    with Running(bucket) as running:
        time.sleep(0.4)
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", bucket.root], capture_output=True, check=False).returncode:
            pytest.skip("volumes are mounted by root")
        try:
            (folder(bucket) / "r1.json").write_bytes(manifest("r1"))
            until(lambda: running.answered("r1"), 5)
        finally:
            running.stop.set()
            running.thread.join()
            subprocess.run(["umount", "-l", bucket.root], check=True)


def test_a_busy_request_is_offered_again_and_a_settled_one_is_not(bucket):
    (folder(bucket) / "r1.json").write_bytes(manifest("r1"))
    outcomes, offered = iter([Outcome.BUSY, Outcome.BUSY, Outcome.ANSWERED]), []
    trigger = FolderTrigger(bucket, "check", SCAN)

    def receive(created, written=True):
        offered.append(created.key)
        return next(outcomes)

    for _ in range(6):
        trigger.scan(receive, threading.Event())
    assert offered == ["requests/check/r1.json"] * 3


class Counting(FolderBucket):
    """Counts how often all manifests are listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listings = 0

    def list(self, prefix, after=""):
        self.listings += prefix == "requests/check/"
        return super().list(prefix, after)


def test_the_whole_is_listed_once_at_the_start_while_the_function_loads_and_nothing_is_missed(tmp_path):
    bucket = Counting(tmp_path / "bucket")
    (folder(bucket) / "before.json").write_bytes(manifest("before"))
    running = Running(bucket, Scan(seconds=60))
    running.trigger.prepare(running.stop)
    assert bucket.listings == 1
    (folder(bucket) / "meanwhile.json").write_bytes(manifest("meanwhile"))
    with running:
        until(lambda: running.answered("before") and running.answered("meanwhile"))
        (folder(bucket) / "later.json").write_bytes(manifest("later"))
        until(lambda: running.answered("later"))
    assert bucket.listings == 1


def test_many_manifests_are_listed_rarely_and_what_no_watcher_tells_of_is_found_all_the_same(bucket, monkeypatch):
    monkeypatch.setattr("shared.triggers.scan.PAGE", 3)
    clock = Clock()
    for number in range(5):
        path = folder(bucket) / f"old{number}.json"
        path.write_bytes(manifest(f"old{number}"))
    os.utime(folder(bucket), (1e9, 1e9))
    trigger, stop = FolderTrigger(bucket, "check", Scan(seconds=2, settle_seconds=1), clock), threading.Event()
    receive = invocation(bucket, Echo()).receive

    def look() -> None:
        trigger.scan(receive, stop)
        until(lambda: not trigger._beside.busy or trigger._beside._made.done())

    look()
    assert trigger._listed_at - clock() == 2 * 2 * 10, "two pages, ten times rarer"
    (folder(bucket) / "a.json").write_bytes(manifest("a"))
    for _ in range(5):
        clock.now += 1
        look()
    assert bucket.head("results/check/a/result.json"), "no watcher has told of it"
    assert trigger._listed_at - clock() <= 2 * 2, "it changed a moment ago, when others may have come unseen"


@pytest.mark.parametrize("replace", [lambda path: path.write_bytes(b"x"), lambda path: path.symlink_to(path.name)])
def test_a_folder_that_is_replaced_by_something_else_stops_nothing(bucket, replace):
    clock, stop = Clock(), threading.Event()
    (folder(bucket, "sub", "deep") / "r1.json").write_bytes(manifest("r1"))
    trigger, receive = FolderTrigger(bucket, "check", SCAN, clock), invocation(bucket, Echo()).receive
    trigger.scan(receive, stop)
    shutil.rmtree(folder(bucket, "sub"))
    replace(folder(bucket) / "sub")
    (folder(bucket) / "r2.json").write_bytes(manifest("r2"))
    clock.now += 5
    trigger.scan(receive, stop)
    assert bucket.head("results/check/r2/result.json")
