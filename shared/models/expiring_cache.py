"""What a process remembers between requests, for a short time only: data of people must not outlive its use.

| from | event | to |
|---|---|---|
| absent | set | kept; beyond `maxsize` the least recently used entry is removed |
| kept | `get` within `ttl` seconds of the last use | kept, its time starts again |
| kept | `ttl` seconds without use | removed by the next call, whichever it is; an idle worker calls `expire` |
| kept | `pop`, `popitem` | removed |
"""

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import TTLCache

SECONDS = 600.0  # without use; portraits of a person come in bursts, and reading a LoRA again takes less than a second

Clock = Callable[[], float]
"""Returns seconds since an arbitrary moment."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ExpiringCache(TTLCache[Key, Value]):
    """Recently used values by key, least recently used first.

    In cachetools' TTLCache the time of an entry runs from when it was set; here each `get` starts it again. Only `get`
    is a use: `[]`, `values` and other ways to look at entries do not extend their time.

    Args:
        most: number of entries to keep at most.
        seconds: how long an entry is kept without being used.
        clock: source of the time; replaced in tests.
    """

    def __init__(self, most: int, seconds: float = SECONDS, clock: Clock = time.monotonic) -> None:
        super().__init__(most, seconds, timer=clock)

    def get(self, key: Key, default: Any = None) -> Any:
        """Return the value and start its time again; `default` if there is none."""
        self.expire()
        try:
            value = self.pop(key)
        except KeyError:
            return default
        self[key] = value  # set again, it is last in order and its time starts again
        return value
