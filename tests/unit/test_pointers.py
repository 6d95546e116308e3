"""Pointers name the newest answer, whichever workers swap them in whatever order, frozen or killed at any call."""

import itertools
import json

import pytest

from shared.buckets import MemoryBucket
from shared.lifecycle.pointers import REPLACES, Pointers

POINTER = "users/u/model.json"


class Killed(Exception):
    pass


class Stopping(MemoryBucket):
    """A bucket that calls `meanwhile` before the nth call, and then goes on or is killed there."""

    def __init__(self, calls: int, meanwhile, killed: bool = False) -> None:
        super().__init__()
        self.calls, self.meanwhile, self.killed = calls, meanwhile, killed

    def _call(self) -> None:
        self.calls -= 1
        if self.calls == 0:
            self.meanwhile(self)
            if self.killed:
                raise Killed

    def put(self, key, data):
        self._call()
        super().put(key, data)

    def get(self, key, largest=None):
        self._call()
        return super().get(key, largest)

    def list(self, prefix, after=""):
        self._call()
        yield from super().list(prefix, after)

    def delete(self, key):
        self._call()
        super().delete(key)


def swap(bucket, committed: float) -> None:
    Pointers(bucket).swap(POINTER, {"which": committed}, f"answer {committed}", committed)


def named(bucket) -> float:
    return json.loads(bucket.get(POINTER))["which"]


@pytest.mark.parametrize("order", list(itertools.permutations((1.0, 2.0, 3.0))))
def test_whatever_the_order_the_newest_is_named_and_no_other_swap_left(order):
    bucket = MemoryBucket()
    for committed in order:
        swap(bucket, committed)
    assert named(bucket) == 3.0
    assert len(list(bucket.list("users/u/swaps/"))) == 1
    swap(bucket, 1.0)
    assert named(bucket) == 3.0, "an old answer that is seen again changes nothing"


@pytest.mark.parametrize(("old", "new"), [(1.0, 2.0), (2.0, 1.0)])
@pytest.mark.parametrize("calls", range(1, 12))
def test_one_who_was_frozen_at_any_call_while_another_swapped_leaves_the_newest(calls, old, new):
    bucket = Stopping(calls, lambda bucket: swap(bucket, new))
    swap(bucket, 0.5)
    swap(bucket, old)
    swap(bucket, 0.7)
    assert named(bucket) == (2.0 if bucket.calls <= 0 else old)


@pytest.mark.parametrize("clock", [1.0, 3600.0])
def test_who_sees_a_swap_comes_after_it_whatever_the_clock_says(clock):
    bucket = MemoryBucket()
    swap(bucket, 3600.0)
    moment = Pointers(bucket).moment([POINTER], now=clock)
    assert 3600.0 < moment < 3600.001
    swap(bucket, moment)
    assert named(bucket) == moment
    swap(bucket, 3600.0)
    assert named(bucket) == moment, "the older answer is seen again"


def test_who_sees_nothing_or_what_is_older_takes_the_time():
    bucket = MemoryBucket()
    assert Pointers(bucket).moment([POINTER], now=7.0) == 7.0
    swap(bucket, 3.0)
    assert Pointers(bucket).moment([POINTER], now=7.0) == 7.0


def test_a_swap_whose_pointer_was_not_written_yet_is_seen():
    bucket = MemoryBucket()
    swap(bucket, 9.0)
    bucket.delete(POINTER)
    assert Pointers(bucket).moment([POINTER], now=7.0) > 9.0


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_of_answers_of_one_moment_the_same_one_wins_in_whatever_order(order):
    bucket = MemoryBucket()
    for name in order:
        Pointers(bucket).swap(POINTER, {"which": name}, name, 5.0)
    assert named(bucket) == "a", "whose hash is the greatest"


@pytest.mark.parametrize("garbage", [b"1e400", b"-1", b"true", b'"5"', b"null", b"9e9", b"9e300", b"NaN"])
def test_a_moment_that_none_of_ours_has_written_stands_in_nobody_s_way(garbage):
    bucket = MemoryBucket()
    bucket.put(POINTER, b'{"which": 0, "committed": ' + garbage + b"}")
    bucket.put("users/u/swaps/zzz.json", b"{}")
    bucket.put("users/u/swaps/99999999999999999999-0123456789ab.json", b"{}")
    assert Pointers(bucket).moment([POINTER], now=7.0) == 7.0
    swap(bucket, 7.0)
    assert named(bucket) == 7.0


@pytest.mark.parametrize("calls", range(1, 8))
def test_one_who_was_killed_at_any_call_is_followed_by_whoever_does_it_again(calls):
    bucket = Stopping(calls, lambda bucket: swap(bucket, 1.0), killed=True)
    try:
        swap(bucket, 2.0)
    except Killed:
        swap(bucket, 2.0)
    assert named(bucket) == 2.0


def replace(bucket, committed, seen):
    Pointers(bucket).swap(POINTER, {"which": committed, REPLACES: seen}, str(committed), committed)


def test_what_was_made_in_view_of_an_older_one_does_not_replace_what_came_in_between():
    bucket = MemoryBucket()
    swap(bucket, 1.0)
    swap(bucket, 2.0)
    for _ in range(2):
        replace(bucket, 3.0, seen=1.0)
        assert named(bucket) == 2.0
    assert len(list(bucket.list("users/u/swaps/"))) == 1
    replace(bucket, 4.0, seen=2.0)
    assert named(bucket) == 4.0
    assert REPLACES not in json.loads(bucket.get(POINTER))


def test_nor_does_it_replace_one_whose_pointer_was_not_written_yet():
    bucket = MemoryBucket()
    swap(bucket, 2.0)
    bucket.delete(POINTER)
    replace(bucket, 3.0, seen=0.0)
    swap(bucket, 2.0)
    assert named(bucket) == 2.0


@pytest.mark.parametrize("calls", range(1, 10))
def test_one_who_was_killed_while_replacing_is_followed_by_whoever_does_it_again(calls):
    bucket = Stopping(calls, lambda bucket: None, killed=True)
    try:
        replace(bucket, 2.0, seen=0.0)
    except Killed:
        replace(bucket, 2.0, seen=0.0)
    assert named(bucket) == 2.0


def test_a_pointer_of_an_earlier_version_that_is_newer_stays():
    bucket = MemoryBucket()
    bucket.put(POINTER, json.dumps({"which": 5.0, "committed": 5.0}).encode())
    swap(bucket, 4.0)
    assert named(bucket) == 5.0
    swap(bucket, 6.0)
    assert named(bucket) == 6.0
