"""Seconds per stage; the time of a stage inside another one counts for the inner one only."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up what its blocks take.

    Attributes:
        seconds: by name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._inner = [0.0]

    def total(self) -> float:
        """Seconds since the watch was made."""
        return time.monotonic() - self._started

    def so_far(self, running: str) -> dict[str, float]:
        """Seconds per stage until now; what the ended ones leave of the total is the `running` one's."""
        ended = dict(self.seconds)
        ended[running] = ended.get(running, 0.0) + self.total() - sum(self.seconds.values())
        return ended

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the block under `name`."""
        started = time.monotonic()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner.pop()
            self._inner[-1] += spent
