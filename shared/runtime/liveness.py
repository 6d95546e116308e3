"""Liveness of a worker without a port: a small file that only its main loop keeps fresh.

| state | written when | stale after |
|---|---|---|
| loading | the process starts | `health.loading_seconds`: models may come from a slow disk |
| idle | the loop looks for work, at most once a second | `health.idle_seconds`: longer than one long poll |
| busy | a request is passed to the function | its limit and two leases: its deadline was answered, but it hangs |

The loop writes it, not a thread of its own, because such a thread would go on beating beside a loop that hangs.
"""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared.contract.hooks import AttemptHook
from shared.errors import PhotogError
from shared.lifecycle.claims import STALE_LEASES
from shared.settings import Settings

IDLE_BEAT = 1.0  # seconds between two writes of an idle loop; watchfiles polls every 50 ms


class Unhealthy(PhotogError):
    """The worker should be restarted; the message says why."""


class Liveness(AttemptHook):
    """The hook that writes the file; does nothing if no file is configured."""

    def __init__(self, function: str, file: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._function, self._file, self._clock = function, file, clock
        self._written = float("-inf")
        self._lock, self._serving = threading.Lock(), 0
        self.loading()

    def loading(self) -> None:
        """Record that the models are not loaded yet, whatever else is done already."""
        self._write("loading")

    def before_request(self) -> None:
        with self._lock:
            self._serving += 1
            self._write("busy")

    def after_request(self) -> None:
        """Write that the loop is idle, unless the next request has begun meanwhile."""
        with self._lock:
            self._serving -= 1
            if not self._serving:
                self._write("idle")

    def polled(self) -> None:
        if self._clock() - self._written >= IDLE_BEAT:
            self._write("idle")

    def _write(self, state: str) -> None:
        if self._file is None:
            return
        self._written = self._clock()
        written = self._file.with_name(self._file.name + ".new")
        written.write_text(json.dumps({"function": self._function, "pid": os.getpid(), "state": state}))
        written.replace(self._file)


def examine(function: str, settings: Settings, now: float | None = None) -> str:
    """Return the state of a healthy worker; raises Unhealthy with the reason otherwise.

    Args:
        now: seconds since the epoch, like the times of files; None is the present time.
    """
    file = settings.health.file
    if file is None:
        raise Unhealthy("no file is configured; set PHOTOG_HEALTH__FILE both for the worker and for this command")
    try:
        said = json.loads(file.read_text())
        age = (time.time() if now is None else now) - file.stat().st_mtime
    except (OSError, ValueError) as error:
        raise Unhealthy(f"{file} cannot be read, perhaps because no worker has started: {error}") from error
    if said["function"] != function:
        raise Unhealthy(f"{file} belongs to a worker of {said['function']}, not {function}")
    if not Path(f"/proc/{said['pid']}").exists():
        raise Unhealthy(f"process {said['pid']} is gone")
    if age > _patience(said["state"], settings):
        raise Unhealthy(f"{said['state']} for {age:.0f} s, {_patience(said['state'], settings):.0f} s are allowed")
    return str(said["state"])


def _patience(state: str, settings: Settings) -> float:
    busy = settings.limits.request_seconds + STALE_LEASES * settings.lease.seconds
    return {"loading": settings.health.loading_seconds, "idle": settings.health.idle_seconds, "busy": busy}[state]
