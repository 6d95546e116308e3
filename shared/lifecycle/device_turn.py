"""Whose turn it is to work, where several deliveries are in hand: one has the device, from its claim to its answer.

| the turn | who moves it | when |
|---|---|---|
| free | a thread that serves a delivery takes it | before it claims anything |
| taken | the same thread gives it back | its function is done and nothing is published yet, or its delivery is over |

When the work of the running attempt will end is told by the time that it reports, or else by the attempt before.
"""

import math
import threading
import time
from collections.abc import Callable
from threading import Event

from shared.contract.hooks import Attempt, AttemptHook, Progress

STOP_POLL = 0.1  # seconds between two checks whether to stop


class DeviceTurn(AttemptHook):
    """The turn of one worker.

    Attributes:
        changed: set whenever the turn was taken or given back, or its end became known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken, self._own = threading.Lock(), threading.local()
        self._ends_at, self._lasted = math.inf, math.inf
        self.changed = Event()

    def take(self, stop: Event) -> bool:
        """Wait for the turn; False if `stop` is set first, even if it is while the turn comes."""
        while not stop.is_set():
            if not self._taken.acquire(timeout=STOP_POLL):
                continue
            if stop.is_set():
                self._taken.release()
                break
            self._own.has = True
            self._ends_at = math.inf
            self.changed.set()
            return True
        return False

    def give_back(self) -> None:
        """Give the turn back, if this thread has it."""
        if getattr(self._own, "has", False):
            self._own.has = False
            self._taken.release()
            self.changed.set()

    @property
    def taken(self) -> bool:
        """Whether some delivery has the turn."""
        return self._taken.locked()

    def seconds_left(self) -> float:
        """Return how long the turn is taken for, as far as that is known: 0 if it is free, inf if nobody knows."""
        return max(0.0, self._ends_at - self._clock()) if self.taken else 0.0

    def before(self, attempt: Attempt) -> None:
        self._expect(self._lasted)

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        if progress.eta_seconds is not None:
            self._expect(progress.eta_seconds)

    def finished(self, attempt: Attempt) -> None:
        self._lasted = attempt.seconds()
        self.give_back()

    def _expect(self, seconds: float) -> None:
        self._ends_at = self._clock() + seconds
        self.changed.set()
