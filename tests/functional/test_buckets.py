"""The contract of every bucket: one suite over all of them."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.buckets import Bucket, FolderBucket, InvalidKey, MemoryBucket, MissingObject, open_bucket
from shared.buckets.aws_clients import S3Settings
from tests.cloud import REGION


@pytest.fixture(
    params=["memory", "folder", "s3", "s3 below a prefix", pytest.param("a second s3", marks=pytest.mark.slow)]
)
def bucket(request, tmp_path: Path) -> Bucket:
    if request.param == "memory":
        return MemoryBucket()
    if request.param == "folder":
        return FolderBucket(tmp_path / "bucket")
    cloud = request.getfixturevalue("second_store" if "second" in request.param else "cloud")
    address = f"s3://{cloud.bucket()}" + ("/some/where" if "prefix" in request.param else "")
    return open_bucket(address, S3Settings(endpoint=cloud.endpoint, region=REGION))


def test_what_was_put_is_got_and_streamed(bucket):
    bucket.put("a/b c/ü.bin", bytes(range(256)) * 9000)
    assert bucket.get("a/b c/ü.bin") == bytes(range(256)) * 9000
    assert b"".join(bucket.stream("a/b c/ü.bin")) == bytes(range(256)) * 9000


def test_an_object_that_is_not_there_is_missing(bucket):
    bucket.put("a/b", b"1")
    for key in ("nothing", "a", "a/b/c"):
        assert bucket.head(key) is None
        with pytest.raises(MissingObject, match=key):
            bucket.get(key)
        assert bucket.find(key) is None
        with pytest.raises(MissingObject, match=key):
            list(bucket.stream(key))
        bucket.delete(key)
    assert bucket.get("a/b") == bucket.find("a/b") == b"1"


def test_put_replaces_and_the_etag_tells(bucket):
    bucket.put("k/v", b"one")
    before = bucket.head("k/v")
    bucket.put("k/v", b"two")
    after = bucket.head("k/v")
    assert bucket.get("k/v") == b"two"
    assert (before.key, before.size) == ("k/v", 3)
    assert before.etag != after.etag


def test_put_if_absent_writes_once(bucket):
    assert bucket.put_if_absent("k/v", b"first") is True
    assert bucket.put_if_absent("k/v", b"second") is False
    assert bucket.get("k/v") == b"first"
    bucket.delete("k/v")
    assert bucket.put_if_absent("k/v", b"third") is True


def test_many_objects_are_put_in_one_call(bucket):
    bucket.put("a/1", b"old")
    bucket.put_all({f"a/{number}": b"%d" % number for number in range(20)} | {"b/1": b"x"})
    assert [bucket.get(f"a/{number}") for number in range(20)] == [b"%d" % number for number in range(20)]
    assert bucket.put_all_if_absent({"a/1": b"new", "c/1": b"1", "d/e/2": b"2"}) == {"c/1", "d/e/2"}
    assert (bucket.get("a/1"), bucket.get("c/1"), bucket.get("d/e/2")) == (b"1", b"1", b"2")
    bucket.put_all({})
    with pytest.raises(InvalidKey):
        bucket.put_all({"f/1": b"1", "f//2": b"2"})


def test_of_many_at_once_exactly_one_wins(bucket):
    with ThreadPoolExecutor(16) as pool:
        for round_ in range(20):
            key, start = f"race/{round_}/key", threading.Barrier(16)

            def race(who: int, key: str = key, start: threading.Barrier = start) -> bool:
                start.wait()
                return bucket.put_if_absent(key, b"%d" % who * 1000)

            won = list(pool.map(race, range(16)))
            assert sum(won) == 1
            assert bucket.get(key) == b"%d" % won.index(True) * 1000


def test_a_reader_never_sees_a_part(bucket):
    contents = [bytes([letter]) * 200_000 for letter in range(8)]
    bucket.put("k/v", contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            bucket.put("k/v", contents[turn % 8])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while True:
        last = done.is_set()
        assert bucket.get("k/v") in contents
        if last:
            break
    writer.join()


def test_list_is_sorted_and_by_prefix_of_the_key(bucket):
    for key in ("r/b.json", "r/a.json", "r/sub/c.json", "ra/x", "s/y"):
        bucket.put(key, b"x")
    assert [info.key for info in bucket.list("r/")] == ["r/a.json", "r/b.json", "r/sub/c.json"]
    assert [info.key for info in bucket.list("r")] == ["r/a.json", "r/b.json", "r/sub/c.json", "ra/x"]
    assert [info.key for info in bucket.list("r/s")] == ["r/sub/c.json"]
    assert len(list(bucket.list(""))) == 5
    assert list(bucket.list("none/")) == []


def test_deleted_is_gone_also_from_lists(bucket):
    bucket.put("deep/er/and/deeper/k", b"x")
    bucket.delete("deep/er/and/deeper/k")
    assert bucket.head("deep/er/and/deeper/k") is None
    assert list(bucket.list("")) == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\\b", "a\0b", "x" * 1025, "\udc80"]
)
def test_no_key_can_leave_the_root_or_confuse_it(bucket, key):
    for call in (bucket.get, bucket.head, bucket.delete, lambda one: bucket.put(one, b"x")):
        with pytest.raises(InvalidKey):
            call(key)
    with pytest.raises(InvalidKey):
        bucket.put_if_absent(key, b"x")


def test_a_link_in_a_folder_does_not_lead_out_of_it(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    bucket = FolderBucket(tmp_path / "bucket")
    (bucket.root / "way").symlink_to(outside)
    (bucket.root / "file").symlink_to(outside / "secret")
    for key in ("way/secret", "file", ".photog/x"):
        with pytest.raises(InvalidKey):
            bucket.get(key)
    with pytest.raises(InvalidKey):
        bucket.put("way/new", b"x")
    assert list(bucket.list("")) == []


def test_a_folder_keeps_no_staged_files_and_stages_on_its_own_filesystem(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    bucket.put("a/b", b"1")
    bucket.put_if_absent("a/b", b"2")
    bucket.put_if_absent("a/c", b"3")
    assert list((bucket.root / ".photog").iterdir()) == []
    assert os.stat(bucket.root / ".photog").st_dev == os.stat(bucket.root / "a").st_dev


def test_writers_and_removers_of_one_folder_do_not_trip_each_other(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")

    def churn(who: int) -> None:
        for turn in range(100):
            key = f"results/x/y/{who}-{turn}"
            assert bucket.put_if_absent(key, b"x")
            bucket.delete(key)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(churn, range(6)))
    assert list(bucket.list("results/")) == []


def test_a_folder_that_vanishes_while_it_is_made_is_not_taken_for_the_object(tmp_path, monkeypatch):
    bucket = FolderBucket(tmp_path / "bucket")
    made, real = [], Path.mkdir

    def raced(path: Path, *arguments: object, **options: object) -> None:
        made.append(path)
        if len(made) == 1:  # as pathlib does when another process removes the folder between its two looks
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        real(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", raced)
    assert bucket.put_if_absent("results/x/y/1", b"x")
    assert bucket.get("results/x/y/1") == b"x"


def test_a_key_below_an_object_is_refused_by_name(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    bucket.put("results/x", b"1")
    for write in (bucket.put, bucket.put_if_absent):
        with pytest.raises(InvalidKey, match="results/x is an object"):
            write("results/x/y", b"2")
        with pytest.raises(InvalidKey, match="results/x is an object"):
            write("results/x/y/z", b"2")


def test_a_list_goes_on_after_a_key(bucket):
    keys = ["r/a", "r/b.json", "r/b/x", "r/b/y", "r/c/z", "s"]
    for key in keys:
        bucket.put(key, b"x")
    for after in ("", "r", "r/", "r/a", "r/b", "r/b.json", "r/b/", "r/b/x", "r/b/y", "r/bz", "r/c/z", "s", "t"):
        for prefix in ("", "r/", "r/b", "r/b/"):
            expected = [key for key in keys if key.startswith(prefix) and key > after]
            assert [info.key for info in bucket.list(prefix, after=after)] == expected, (prefix, after)


def test_the_folders_below_a_prefix_are_named_without_what_lies_in_them(bucket):
    for key in ("r/b/x", "r/b/deep/er", "r/a c/1", "r/file", "r/ü/1", "s/1", "top"):
        bucket.put(key, b"x")
    assert list(bucket.folders("")) == ["r", "s"]
    assert list(bucket.folders("r/")) == ["a c", "b", "ü"]
    assert list(bucket.folders("r/b/")) == ["deep"]
    assert list(bucket.folders("none/")) == []
    with pytest.raises(InvalidKey):
        list(bucket.folders("r"))


def test_a_list_is_of_a_prefix_that_keys_can_have(bucket):
    for prefix in ("/", "a//", "../", "users/../", "users/./", "a\\", "\udc80", "a\x9b/"):
        with pytest.raises(InvalidKey):
            list(bucket.list(prefix))


def test_no_key_can_steer_a_terminal_or_break_a_log(bucket):
    for letter in ("\n", "\x1b", "\x7f", "\x85", "\x9b"):
        with pytest.raises(InvalidKey, match="control"):
            bucket.put(f"a/{letter}31m", b"x")


def test_nothing_of_writers_that_ended_well_is_left_to_be_collected(bucket):
    bucket.put("a/b", b"1")
    bucket.put_if_absent("a/b", b"2")
    assert list(bucket.collect(["a/"])) == []
    assert bucket.get("a/b") == b"1"
