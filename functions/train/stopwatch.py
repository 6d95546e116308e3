"""Seconds per stage; the time of a nested stage counts for the inner stage only."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the time of the blocks that it surrounds.

    Attributes:
        seconds: time of each stage by its name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._inner = [0.0]

    def total(self) -> float:
        """Seconds since the watch was made."""
        return time.monotonic() - self._started

    def so_far(self, running: str) -> dict[str, float]:
        """Return the seconds per stage until now; time that no finished stage took counts for the `running` one."""
        ended = dict(self.seconds)
        ended[running] = ended.get(running, 0.0) + self.total() - sum(self.seconds.values())
        return ended

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the block's time under `name`."""
        started = time.monotonic()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner.pop()
            self._inner[-1] += spent
