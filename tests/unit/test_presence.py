"""A worker's sign of life in the bucket: written when it is ready, again while it idles, and gone when it ends."""

import os
import time

from shared.buckets import FolderBucket, MemoryBucket, StoreUnavailable
from shared.contract import keys
from shared.runtime.presence import ABANDONED_SECONDS, Presence
from tests.clock import Clock


class Counting(MemoryBucket):
    puts = 0

    def put(self, key, data):
        self.puts += 1
        super().put(key, data)


def listed(bucket):
    return [info.key for info in bucket.list("")]


def test_a_worker_writes_once_a_minute_however_often_it_looks_for_work_and_leaves_nothing():
    bucket, clock = Counting(), Clock()
    presence = Presence(bucket, "check", "host-1", 60.0, clock)
    presence.polled()
    assert listed(bucket) == [], "its models are not loaded yet"
    presence.begin()
    assert listed(bucket) == [keys.worker("check", "host-1")]
    for _ in range(100):
        clock.now += 1.0
        presence.polled()
    assert bucket.puts == 2
    presence.end()
    presence.polled()
    assert listed(bucket) == []


def test_what_killed_workers_of_the_function_have_left_is_removed_by_the_next_one(tmp_path):
    bucket = FolderBucket(tmp_path)
    for function, owner, age in (
        ("check", "dead", ABANDONED_SECONDS + 60),
        ("check", "busy", ABANDONED_SECONDS - 60),
        ("train", "another-function's", ABANDONED_SECONDS + 60),
    ):
        bucket.put(keys.worker(function, owner), b"{}")
        then = time.time() - age
        os.utime(tmp_path / keys.worker(function, owner), (then, then))
    Presence(bucket, "check", "new", 60.0).begin()
    left = [keys.worker("check", "busy"), keys.worker("check", "new"), keys.worker("train", "another-function's")]
    assert listed(bucket) == left


def test_nothing_is_written_where_it_is_turned_off_and_a_store_that_fails_ends_no_worker():
    bucket = MemoryBucket()
    off = Presence(bucket, "check", "host-1", 0.0)
    off.begin()
    off.end()
    assert listed(bucket) == []

    class Failing(MemoryBucket):
        def put(self, key, data):
            raise StoreUnavailable("away")

        def delete(self, key):
            raise StoreUnavailable("away")

    presence = Presence(Failing(), "check", "host-1", 60.0)
    presence.begin()
    presence.end()
