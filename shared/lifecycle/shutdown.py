"""Reasons to stop work in progress, and the errors that stop it; checked whenever a function reports progress."""

import threading
import time

from shared.contract.hooks import Attempt, AttemptHook
from shared.errors import PhotogError


class Interrupted(PhotogError):
    """The work must stop and publish nothing."""


class ClaimLost(Interrupted):
    """Another attempt has taken over, or the answer already exists."""


class HandedBack(Interrupted):
    """The process is asked to exit; another one will start over."""


class Shutdown:
    """A process's request to stop: no new request is begun, and the running one has `drain_seconds` to finish."""

    def __init__(self, drain_seconds: float) -> None:
        self.requested = threading.Event()
        self._drain_seconds = drain_seconds
        self._until = float("inf")

    def request(self, now: bool = False) -> None:
        """Ask to drain, effective once; or with `now`, to hand the running request back at its next report."""
        if now or not self.requested.is_set():
            self._until = time.monotonic() + (0 if now else self._drain_seconds)
        self.requested.set()

    def overdue(self) -> bool:
        """Return whether the time to finish is over."""
        return time.monotonic() > self._until


class HandBack(AttemptHook):
    """Stops the work of a process that is asked to exit and has no time left."""

    def __init__(self, shutdown: Shutdown) -> None:
        self._shutdown = shutdown

    def check(self, attempt: Attempt) -> None:
        if self._shutdown.overdue():
            raise HandedBack(f"{attempt.request_id} is handed back because this worker is shutting down")
