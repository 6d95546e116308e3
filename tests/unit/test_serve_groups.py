"""Writes that wait while others are written are written together, and each fails by itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.grouped_writes import GroupedWrites
from shared.buckets import BucketError, MemoryBucket
from tests.echo import until


class SlowBucket(MemoryBucket):
    """Writes when it is told to, and notes which objects came together; some keys fail."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()
        self.groups: list[list[str]] = []
        self.bad: set[str] = set()

    def put(self, key, data):
        self.begun.set()
        assert self.go.wait(20)
        self.groups.append([key])
        self._write(key, data)

    def put_all(self, objects):
        self.groups.append(list(objects))
        for key, data in objects.items():
            self._write(key, data)

    def _write(self, key, data):
        if key in self.bad:
            raise BucketError(f"{key} is bad")
        super().put(key, data)


@pytest.fixture
def bucket() -> SlowBucket:
    return SlowBucket()


def write_beside_a_slow_one(bucket: SlowBucket, keys: list[str]) -> dict[str, BaseException | None]:
    """Write a first object, and the others while it is being written; return the error of each."""
    writes = GroupedWrites(bucket)
    with ThreadPoolExecutor(len(keys) + 1) as pool:
        first = pool.submit(writes.put, "first", b"1")
        assert bucket.begun.wait(20)
        others = {}
        for number, key in enumerate(keys, 1):
            others[key] = pool.submit(writes.put, key, key.encode())
            until(lambda number=number: len(writes._waiting) == number)
        bucket.go.set()
        assert first.exception() is None
        return {key: one.exception() for key, one in others.items()}


def test_what_came_while_a_write_was_slow_is_written_together(bucket):
    errors = write_beside_a_slow_one(bucket, ["a", "b", "c"])
    assert set(errors.values()) == {None}
    assert bucket.groups == [["first"], ["a", "b", "c"]]
    assert [bucket.get(key) for key in "abc"] == [b"a", b"b", b"c"]


def test_an_object_that_cannot_be_written_fails_for_its_own_caller_only(bucket):
    bucket.bad = {"b"}
    errors = write_beside_a_slow_one(bucket, ["a", "b", "c"])
    assert {key: str(error) for key, error in errors.items() if error} == {"b": "b is bad"}
    assert (bucket.find("a"), bucket.find("b"), bucket.find("c")) == (b"a", None, b"c")
