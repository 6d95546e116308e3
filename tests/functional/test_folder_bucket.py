"""Behavior that only a folder bucket has: special files, links, permissions, full disks, leftovers of dead writers."""

import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.buckets import BucketError, FolderBucket, InvalidKey, MissingObject, StoreUnavailable, UnreadableFolder
from shared.buckets.staging import _kernel
from tests.echo import until
from tests.unprivileged import place, unprivileged


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture
def theirs():
    """A bucket used by a user who is not root."""
    with place() as folder, unprivileged():
        yield FolderBucket(folder / "bucket")


@pytest.fixture
def disk(tmp_path: Path):
    """A filesystem of 1 MiB, and a function that remounts it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no mount: {done.stderr.decode().strip()}")

    if shutil.which("mount") is None:
        pytest.skip("no mount on this machine")
    mount("size=1m")
    yield folder, mount
    subprocess.run(["umount", folder], check=False)


def keys(bucket: FolderBucket, prefix: str = "") -> list[str]:
    return [info.key for info in bucket.list(prefix)]


def staged(bucket: FolderBucket) -> list[str]:
    folder = bucket.root / ".photog"
    return sorted(os.listdir(folder)) if folder.exists() else []


def absent(bucket: FolderBucket, key: str) -> None:
    assert bucket.head(key) is None
    with pytest.raises(MissingObject):
        bucket.get(key)
    with pytest.raises(MissingObject):
        list(bucket.stream(key))


def test_special_files_are_no_objects_and_are_never_opened(bucket, monkeypatch):
    photos = bucket.root / "photos"
    photos.mkdir()
    os.mkfifo(photos / "fifo.jpg")
    monkeypatch.chdir(photos)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
    (photos / "link.jpg").symlink_to("fifo.jpg")
    writer = os.open(photos / "fifo.jpg", os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, b"somebody's")
    for name in ("fifo.jpg", "socket.jpg", "link.jpg"):
        absent(bucket, f"photos/{name}")
    assert os.read(writer, 100) == b"somebody's", "nobody has read from it"
    os.close(writer)
    assert keys(bucket) == []
    with pytest.raises(InvalidKey, match="special file"):
        bucket.put_if_absent("photos/fifo.jpg", b"x")


def test_devices_are_no_objects(bucket):
    (bucket.root / "photos").mkdir()
    try:
        os.mknod(bucket.root / "photos/zero.jpg", 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices are made by root")
    absent(bucket, "photos/zero.jpg")


def test_a_file_that_becomes_a_fifo_between_two_looks_blocks_nobody(bucket, monkeypatch):
    bucket.put("photos/a.jpg", b"x")
    path, real = bucket.root / "photos/a.jpg", os.open

    def raced(name, flags, *rest, **more):
        if str(name) == str(path):
            path.unlink()
            os.mkfifo(path)
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", raced)
    with pytest.raises(MissingObject):
        bucket.get("photos/a.jpg")


def test_links_inside_of_the_root_are_followed_and_circles_are_no_objects(bucket):
    bucket.put("photos/real.jpg", b"x")
    photos = bucket.root / "photos"
    (photos / "same.jpg").symlink_to("real.jpg")
    (photos / "a.jpg").symlink_to("b.jpg")
    (photos / "b.jpg").symlink_to("a.jpg")
    (photos / "round").symlink_to("round")
    (photos / "broken.jpg").symlink_to("nowhere.jpg")
    assert bucket.get("photos/same.jpg") == b"x"
    for key in ("photos/a.jpg", "photos/broken.jpg"):
        absent(bucket, key)
        with pytest.raises(InvalidKey):
            bucket.put_if_absent(key, b"x")
    for call in (bucket.get, bucket.head, bucket.delete, lambda key: bucket.put(key, b"x")):
        with pytest.raises(BucketError):
            call("photos/round/x.jpg")
    assert keys(bucket, "photos/round/") == []
    assert keys(bucket) == ["photos/real.jpg"]
    bucket.put("photos/a.jpg", b"now it is")
    assert bucket.get("photos/a.jpg") == b"now it is"


def test_no_link_leads_into_staging_or_shows_it(bucket):
    bucket.put("photos/real.jpg", b"x")
    (bucket.root / ".photog/half").write_bytes(b"half")
    (bucket.root / "way").symlink_to(".photog")
    (bucket.root / "self").symlink_to(".")
    for key in ("way/half", "self/.photog/half", ".photog/half", ".photog"):
        with pytest.raises(InvalidKey):
            bucket.get(key)
    for prefix in ("way/", ".photog/"):
        with pytest.raises(InvalidKey):
            keys(bucket, prefix)
    assert keys(bucket, "self/") == ["self/photos/real.jpg"]
    assert list(bucket.folders("self/")) == ["photos"]
    assert list(bucket.folders("")) == ["photos"]


def test_a_name_too_long_for_the_disk_is_no_key(bucket):
    bucket.put("photos/a.jpg", b"x")
    key = f"photos/{'x' * 300}.jpg"
    for call in (bucket.get, bucket.head, bucket.delete, lambda one: bucket.put(one, b"x")):
        with pytest.raises(InvalidKey, match="255"):
            call(key)
    assert keys(bucket, key) == []
    assert staged(bucket) == []


def test_a_folder_where_an_object_belongs_is_an_error_of_that_key(bucket):
    (bucket.root / "results/check/l/result.json/deep").mkdir(parents=True)
    key = "results/check/l/result.json"
    absent(bucket, key)
    for write in (bucket.put, bucket.put_if_absent):
        with pytest.raises(InvalidKey, match="folder"):
            write(key, b"x")
    bucket.delete(key)
    assert bucket.put_if_absent("results/check/m/result.json", b"x")
    assert staged(bucket) == []


def test_a_file_where_a_folder_belongs_is_an_error_of_that_key(bucket):
    bucket.put("claims/check/h", b"x")
    os.mkfifo(bucket.root / "claims/check/fifo")
    for key in ("claims/check/h/000001.json", "claims/check/fifo/000001.json"):
        assert keys(bucket, key.rpartition("/")[0] + "/") == []
        absent(bucket, key)
        with pytest.raises(InvalidKey):
            bucket.put_if_absent(key, b"x")


def test_what_may_not_be_read_or_written_is_an_error_that_says_what_to_do(theirs):
    theirs.put("photos/a.jpg", b"x")
    theirs.put("claims/check/r/000001.json", b"x")
    (theirs.root / "photos/a.jpg").chmod(0)
    (theirs.root / "claims/check/r").chmod(0o555)
    (theirs.root / "photos/closed").mkdir(mode=0)
    calls = [
        lambda: theirs.get("photos/a.jpg"),
        lambda: list(theirs.stream("photos/a.jpg")),
        lambda: theirs.head("photos/closed/b.jpg"),
        lambda: theirs.put("photos/closed/b.jpg", b"x"),
        lambda: theirs.put_if_absent("claims/check/r/000002.json", b"x"),
        lambda: theirs.delete("claims/check/r/000001.json"),
    ]
    for call in calls:
        with pytest.raises(BucketError, match=f"(photos|claims).*user {os.geteuid()}.*chmod") as caught:
            call()
        assert not isinstance(caught.value, StoreUnavailable | MissingObject)
    assert staged(theirs) == []
    (theirs.root / "photos/closed").chmod(0o755)


def test_a_list_gives_all_that_can_be_read_and_then_names_what_cannot(theirs):
    for key in ("r/a/1", "r/b/1", "r/c/1", "r/d"):
        theirs.put(key, b"x")
    (theirs.root / "r/b").chmod(0)
    (theirs.root / "r/c").chmod(0o444)  # may be read and not entered
    listing = theirs.list("r/")
    assert [next(listing).key, next(listing).key] == ["r/a/1", "r/d"]
    with pytest.raises(UnreadableFolder, match="r/b/") as caught:
        next(listing)
    assert caught.value.folders == ("r/b/", "r/c/")
    assert list(theirs.folders("r/")) == ["a", "b", "c"]
    with pytest.raises(UnreadableFolder):
        list(theirs.folders("r/b/"))
    assert [info.key for info in theirs.list("r/a")] == ["r/a/1"], "what is not asked for does not matter"
    for name in ("b", "c"):
        (theirs.root / "r" / name).chmod(0o755)


def test_folders_nested_deeper_than_python_can_call_are_listed(bucket):
    deep, key = bucket.root / "/".join("a" * 1500), "/".join("a" * 511) + "/k"
    subprocess.run(["mkdir", "-p", deep], check=True)
    try:
        bucket.put(key, b"x")
        assert keys(bucket) == [key]
        bucket.delete(key)
    finally:
        subprocess.run(["rm", "-rf", bucket.root], check=True)


def test_names_that_are_no_keys_are_logged_once_and_not_listed(bucket, caplog):
    bucket.put("r/a", b"x")
    for name in (b"back\\slash", b"\xff\xfe", b"line\nbreak"):
        (bucket.root / "r" / os.fsdecode(name)).write_bytes(b"x")
    for _ in range(2):
        assert keys(bucket) == ["r/a"]
    assert len(caplog.records) == 3


@pytest.mark.slow
def test_a_hundred_thousand_files_in_a_folder_are_listed_in_less_than_a_second(bucket):
    folder = bucket.root / "requests/check"
    folder.mkdir(parents=True)
    for number in range(100_000):
        os.close(os.open(folder / f"{number:06}.json", os.O_CREAT | os.O_WRONLY))

    def seconds(after: str, count: int) -> float:
        begun = time.process_time()
        assert sum(1 for _ in bucket.list("requests/check/", after=after)) == count
        return time.process_time() - begun

    assert min(seconds("", 100_000) for _ in range(3)) < 1.0
    assert min(seconds("requests/check/099989.json", 10) for _ in range(3)) < 0.3


def test_staging_that_was_removed_is_made_again(bucket):
    bucket.put("a/b", b"1")
    shutil.rmtree(bucket.root / ".photog")
    bucket.put("a/b", b"2")
    shutil.rmtree(bucket.root / ".photog")
    assert bucket.put_if_absent("a/c", b"3")
    shutil.rmtree(bucket.root)
    bucket.root.mkdir()
    assert bucket.put_if_absent("a/b", b"4")
    assert (bucket.get("a/b"), staged(bucket)) == (b"4", [])


def test_what_a_dead_writer_left_is_swept_by_whoever_only_looks(bucket, monkeypatch):
    bucket.put("a/b", b"1")
    left, theirs = bucket.root / ".photog" / f"{_kernel()}-{'0' * 32}", bucket.root / ".photog" / "notes.txt"
    left.write_bytes(b"half of a photo")
    theirs.write_bytes(b"not ours")
    monkeypatch.setattr(bucket._staging, "_looked", -1000.0)
    assert keys(bucket) == ["a/b"]
    assert staged(bucket) == ["notes.txt"]


def test_a_staged_file_that_cannot_be_locked_or_asked_for_is_removed(bucket, monkeypatch):
    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    bucket.put("a/b", b"1")
    monkeypatch.setattr(os, "fstat", broken)
    with pytest.raises(StoreUnavailable, match="a/c"):
        bucket.put("a/c", b"2")
    monkeypatch.undo()
    assert staged(bucket) == []


def test_staging_that_is_removed_while_an_object_is_written_costs_only_another_try(bucket, monkeypatch):
    tries, real = [], os.link

    def raced(source, target, **more):
        tries.append(source)
        if len(tries) == 1:
            shutil.rmtree(bucket.root / ".photog")
        return real(source, target, **more)

    monkeypatch.setattr(os, "link", raced)
    assert bucket.put_if_absent("a/b", b"1") is True
    assert bucket.get("a/b") == b"1"


DIES = """
import os, signal, sys, time
from pathlib import Path
from shared.buckets.staging import Staging
with Staging(Path(sys.argv[1])).holding(b"a picture"):
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(bucket: FolderBucket) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", DIES, bucket.root], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_a_living_ones_is_not(bucket):
    living, killed = writer(bucket), writer(bucket)
    try:
        killed.kill()
        killed.wait()
        assert len(staged(bucket)) == 2
        bucket.put("a/b", b"x")
        assert len(staged(bucket)) == 1
        assert bucket.collect() == []
        assert len(staged(bucket)) == 1, "its writer lives"
    finally:
        living.kill()
        living.wait()
    [left] = staged(bucket)
    assert bucket.collect() == [f".photog/{left}"]
    assert staged(bucket) == []


def test_what_may_be_a_writers_on_another_machine_is_left_alone_for_a_while_but_not_by_forgetting(bucket):
    folder = bucket.root / ".photog"
    folder.mkdir()
    young, old, foreign = folder / ("0" * 32), folder / f"00000000-{'1' * 32}", folder / "notes.txt"
    for path in (young, old, foreign):
        path.write_bytes(b"x")
    for path in (old, foreign):
        os.utime(path, (time.time() - 1000, time.time() - 1000))
    bucket.put("a/b", b"x")
    assert staged(bucket) == [young.name, "notes.txt"]
    assert len(bucket.collect()) == 2
    assert staged(bucket) == []


def test_staging_that_leads_elsewhere_is_neither_written_nor_cleared(bucket, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ("0" * 32)).write_bytes(b"mine")
    (bucket.root / ".photog").symlink_to(elsewhere)
    assert bucket.collect() == []
    with pytest.raises(BucketError, match="move it away"):
        bucket.put("a/b", b"x")
    assert os.listdir(elsewhere) == ["0" * 32]


def test_a_write_that_breaks_off_leaves_nothing(bucket):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for write in (bucket.put, bucket.put_if_absent):
            with pytest.raises(BucketError, match=r"a/b in .*larger"):
                write("a/b", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert staged(bucket) == []
    assert keys(bucket) == []


@pytest.fixture
def syncs(monkeypatch) -> list[tuple[str, str]]:
    """Every sync that has ended, as the path and the thread; each takes a moment."""
    ended: list[tuple[str, str]] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}").removesuffix(" (deleted)")
        time.sleep(0.02)
        sync(descriptor)
        ended.append((path, threading.current_thread().name))

    monkeypatch.setattr(os, "fsync", note)
    return ended


def test_a_claim_and_progress_are_synced_beside_the_work_and_before_the_answer_is_there(bucket, syncs, monkeypatch):
    assert bucket.put_if_absent("claims/check/r1/000001.json", b"claim")
    bucket.put("progress/check/r1.json", b"progress")
    assert len(syncs) < 4, "both calls returned before everything was synced"
    on_disk: list[str] = []
    link = os.link

    def place(staged, path):
        on_disk.extend(path for path, _ in syncs)
        link(staged, path)

    monkeypatch.setattr(os, "link", place)
    assert bucket.put_if_absent("results/check/r1/result.json", b"answer")
    folders = {str(bucket.root / folder) for folder in ("claims/check/r1", "progress/check")}
    assert folders < set(on_disk)
    assert len(on_disk) == 5, "a claim and its folder, progress and its folder, the answer's own bytes"
    assert syncs[-1][0] == str(bucket.root / "results/check/r1"), "the answer's folder, before the call returns"
    waited = [path for path, thread in syncs if thread == threading.current_thread().name]
    assert len(waited) == 2, "nobody waited for more than the answer's two syncs"


def test_an_answer_is_not_there_if_its_claim_cannot_be_synced(bucket, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", fail)
        assert bucket.put_if_absent("claims/check/r1/000001.json", b"claim")
        until(lambda: all(one.done() for one in bucket._syncs._pending))
    with pytest.raises(StoreUnavailable, match="the disk fails"):
        bucket.put_if_absent("results/check/r1/result.json", b"answer")
    absent(bucket, "results/check/r1/result.json")
    assert bucket.put_if_absent("results/check/r1/result.json", b"answer"), "the next try has nothing to wait for"
    assert staged(bucket) == []


def test_many_objects_are_synced_at_once_before_any_is_there(bucket, syncs, monkeypatch):
    on_disk: list[int] = []
    replace = os.replace

    def place(staged, path):
        on_disk.append(len(syncs))
        replace(staged, path)

    monkeypatch.setattr(os, "replace", place)
    bucket.put_all({f"queue/check/{number}": b"%d" % number for number in range(8)})
    assert on_disk == [8] * 8
    assert len(syncs) == 9, "eight files and their one folder"
    assert staged(bucket) == []


def test_one_object_that_cannot_be_put_is_the_error_and_the_others_are_there(bucket):
    (bucket.root / "queue/check/3").mkdir(parents=True)
    with pytest.raises(BucketError, match=r"queue/check/3 cannot be a key"):
        bucket.put_all({f"queue/check/{number}": b"%d" % number for number in range(5)})
    assert keys(bucket, "queue/") == [f"queue/check/{number}" for number in (0, 1, 2, 4)]
    assert staged(bucket) == []


def test_a_full_disk_leaves_nothing_half_written_and_says_so(disk):
    bucket = FolderBucket(disk[0] / "b")
    bucket.put("a/b", b"x" * 500_000)
    for write in (bucket.put, bucket.put_if_absent):
        with pytest.raises(StoreUnavailable, match=r"a/c in .*make room"):
            write("a/c", b"x" * 800_000)
    assert staged(bucket) == []
    assert keys(bucket) == ["a/b"]
    bucket.delete("a/b")
    bucket.put("a/c", b"x" * 800_000)


def test_a_read_only_bucket_is_read_and_a_write_to_it_says_so(disk):
    folder, mount = disk
    writable = FolderBucket(folder / "b")
    writable.put("a/b", b"x")
    shutil.rmtree(writable.root / ".photog")
    mount("remount,ro")
    bucket = FolderBucket(folder / "b")
    assert (bucket.get("a/b"), keys(bucket), bucket.collect()) == (b"x", ["a/b"], [])
    for call in (lambda: bucket.put("a/c", b"x"), lambda: bucket.delete("a/b")):
        with pytest.raises(StoreUnavailable, match="read-only"):
            call()
    with pytest.raises(StoreUnavailable, match=r"cannot be a bucket.*[Rr]ead-only"):
        FolderBucket(folder / "new")
    mount("remount,rw")
    bucket.put("a/c", b"x")


def test_what_cannot_be_a_bucket_says_why(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for name, why in (("file", "is a file"), ("file/below", "is a file"), ("round", "loop"), ("a\0b", "null")):
        with pytest.raises(StoreUnavailable, match=f"cannot be a bucket.*{why}"):
            FolderBucket(tmp_path / name)


def test_the_folder_of_a_person_goes_with_the_last_object_and_those_of_functions_stay(bucket):
    for key in ("users/ann/model.json", "photos/ann/1.jpg", "requests/check/r.json", "results/check/r/result.json"):
        bucket.put(key, b"x")
        bucket.delete(key)
    left = sorted(str(path.relative_to(bucket.root)) for path in bucket.root.rglob("*"))
    assert left == [".photog", "photos", "requests", "requests/check", "results", "results/check", "users"]


@pytest.mark.parametrize("write", [FolderBucket.put, FolderBucket.put_if_absent])
def test_a_bucket_that_was_removed_is_not_made_again_by_a_write(tmp_path, write):
    bucket = FolderBucket(tmp_path / "bucket")
    write(bucket, "a/b.txt", b"x")
    shutil.rmtree(bucket.root)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="does not exist: make it, or mount its volume"):
            write(bucket, "a/b.txt", b"x")
    assert not bucket.root.exists()
    bucket.root.mkdir()
    write(bucket, "a/b.txt", b"x")
    assert bucket.get("a/b.txt") == b"x"


def test_a_bucket_that_is_removed_in_the_middle_of_a_write_is_not_made_again(tmp_path, monkeypatch):
    bucket = FolderBucket(tmp_path / "bucket")
    make = FolderBucket._make_folders
    monkeypatch.setattr(
        FolderBucket, "_make_folders", lambda self, folder: shutil.rmtree(self.root) or make(self, folder)
    )
    with pytest.raises(StoreUnavailable, match="does not exist"):
        bucket.put("a/b.txt", b"x")
    assert not bucket.root.exists()
