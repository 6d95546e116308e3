"""What a process remembers between requests, and that not for long: what it knows of people must not outlive its use.

| from | event | to |
|---|---|---|
| unknown | set | kept; beyond `maxsize`, the entry not used for longest goes |
| kept | `get` within `ttl` seconds of the last use | kept, its time begins anew |
| kept | `ttl` seconds without use | gone, with whatever call comes next; `expire` is called while nobody asks |
| kept | `pop`, `popitem` | gone |
"""

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import TTLCache

SECONDS = 600.0  # without use; a person's portraits come in bursts, and reading a LoRA anew takes less than a second

Clock = Callable[[], float]
"""Seconds, from any beginning."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ExpiringCache(TTLCache[Key, Value]):
    """Values by key, the ones lately used; in their order, the one not used for longest first.

    In cachetools' TTLCache an entry's time runs from when it was set: here each `get` begins it anew. Only that is a
    use: `[]`, `values` and whatever else looks at the entries let their time run on.

    Args:
        most: entries.
        seconds: that an entry stays without being used.
        clock: replaced in tests.
    """

    def __init__(self, most: int, seconds: float = SECONDS, clock: Clock = time.monotonic) -> None:
        super().__init__(most, seconds, timer=clock)

    def get(self, key: Key, default: Any = None) -> Any:
        """The value, whose time begins anew; `default` where there is none."""
        self.expire()
        try:
            value = self.pop(key)
        except KeyError:
            return default
        self[key] = value  # last in order and with all of its time
        return value
