"""What a process remembers of people between requests, and for how long."""

import weakref

from shared.models.expiring_cache import ExpiringCache
from tests.clock import Clock


class Value:
    """What is remembered."""


def memory(most=10, seconds=60.0):
    clock = Clock()
    return ExpiringCache(most, seconds, clock), clock


def test_what_is_used_stays():
    kept, clock = memory()
    kept["ann"] = 1
    for _ in range(5):
        clock.now += 59
        assert kept.get("ann") == 1


def test_what_is_not_used_for_its_time_is_gone_even_if_nobody_cleared_up():
    kept, clock = memory()
    kept["ann"] = 1
    clock.now += 60
    assert kept.get("ann") is None


def test_expiring_forgets_what_nobody_asks_for():
    kept, clock = memory()
    kept["ann"] = 1
    clock.now += 30
    kept["bob"] = 2
    clock.now += 30
    kept.expire()
    assert list(kept.values()) == [2]


def test_looking_at_what_is_kept_is_no_use_of_it():
    kept, clock = memory()
    kept["ann"] = 1
    clock.now += 59
    assert (list(kept.values()), list(kept), len(kept)) == ([1], ["ann"], 1)
    clock.now += 1
    kept.expire()
    assert len(kept) == 0


def test_beyond_its_size_the_one_not_used_for_longest_goes():
    kept, _ = memory(most=2)
    kept["ann"] = 1
    kept["bob"] = 2
    kept.get("ann")
    kept["cleo"] = 3
    assert list(kept) == ["ann", "cleo"]


def test_looking_at_what_is_kept_does_not_make_it_lately_used():
    kept, _ = memory(most=2)
    kept["ann"] = 1
    kept["bob"] = 2
    kept.get("ann")
    assert list(kept.values()) == [2, 1]
    kept["cleo"] = 3
    assert list(kept) == ["ann", "cleo"]


def test_nothing_of_what_expired_stays_in_memory_after_another_is_asked_for():
    kept, clock = memory()
    value = Value()
    gone = weakref.ref(value)
    kept["ann"] = value
    del value
    clock.now += 60
    assert kept.get("bob") is None
    assert gone() is None
