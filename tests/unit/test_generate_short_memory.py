"""What a process remembers of people between requests, and for how long."""

from functions.generate.short_memory import ShortMemory
from tests.clock import Clock


def memory(most=10, seconds=60.0):
    clock = Clock()
    return ShortMemory(most, seconds, clock), clock


def test_what_is_used_stays():
    kept, clock = memory()
    kept.keep("ann", 1)
    for _ in range(5):
        clock.now += 59
        assert kept.get("ann") == 1


def test_what_is_not_used_for_its_time_is_gone_even_if_nobody_cleared_up():
    kept, clock = memory()
    kept.keep("ann", 1)
    clock.now += 60
    assert kept.get("ann") is None


def test_expiring_forgets_what_nobody_asks_for():
    kept, clock = memory()
    kept.keep("ann", 1)
    clock.now += 30
    kept.keep("bob", 2)
    clock.now += 30
    kept.expire()
    assert kept.values() == [2]


def test_looking_at_what_is_kept_is_no_use_of_it():
    kept, clock = memory()
    kept.keep("ann", 1)
    clock.now += 59
    assert (kept.values(), list(kept), len(kept)) == ([1], ["ann"], 1)
    clock.now += 1
    kept.expire()
    assert len(kept) == 0


def test_beyond_its_size_the_one_not_used_for_longest_goes():
    kept, _ = memory(most=2)
    kept.keep("ann", 1)
    kept.keep("bob", 2)
    kept.get("ann")
    kept.keep("cleo", 3)
    assert list(kept) == ["ann", "cleo"]
