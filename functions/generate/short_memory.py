"""What a process remembers between requests, and that not for long: what it knows of people must not outlive its use.

| from | event | to |
|---|---|---|
| unknown | `keep` | kept; beyond `most`, the entry not used for longest goes |
| kept | `get` within `seconds` of the last use | kept, its time begins anew |
| kept | `seconds` without use | gone, with whatever call comes next; `expire` is called while nobody asks |
| kept | `drop` | gone |
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

SECONDS = 600.0  # without use; a person's portraits come in bursts, and reading a LoRA anew takes less than a second

Clock = Callable[[], float]
"""Seconds, from any beginning."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ShortMemory(Generic[Key, Value]):
    """Values by key, the ones lately used.

    Args:
        most: entries.
        seconds: that an entry stays without being used.
        clock: replaced in tests.
    """

    def __init__(self, most: int, seconds: float = SECONDS, clock: Clock = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._entries: OrderedDict[Key, tuple[Value, float]] = OrderedDict()  # the one not used for longest first

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Key]:
        """The keys, the one not used for longest first."""
        return iter(list(self._entries))

    def values(self) -> list[Value]:
        """All that is kept; looking at it is no use of it."""
        return [value for value, _ in self._entries.values()]

    def get(self, key: Key) -> Value | None:
        """The value, whose time begins anew; None where there is none."""
        self.expire()
        entry = self._entries.get(key)
        if entry is None:
            return None
        self.keep(key, entry[0])
        return entry[0]

    def keep(self, key: Key, value: Value) -> None:
        """Remember a value."""
        self.expire()
        self._entries[key] = value, self._clock()
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Forget the entry that was not used for longest."""
        self._entries.popitem(last=False)

    def drop(self, unwanted: Callable[[Key], bool]) -> None:
        """Forget the entries with such keys."""
        for key in [key for key in self._entries if unwanted(key)]:
            del self._entries[key]

    def expire(self) -> None:
        """Forget what has not been used for too long."""
        latest = self._clock() - self._seconds
        while self._entries and next(iter(self._entries.values()))[1] <= latest:
            self.drop_oldest()
