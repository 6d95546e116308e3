"""One process per function on one bucket: started, watched, restarted when it dies, drained at the end."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.5  # seconds before a restart; doubled with each death in a row
LONGEST_PAUSE = 30.0
HEALTHY_SECONDS = 60.0  # a worker that lived so long did not die of its start
METRICS_PORT = "PHOTOG_METRICS__PORT"


@dataclass
class _Child:
    function: str
    process: "subprocess.Popen[bytes]"
    started: float
    pause: float = SHORTEST_PAUSE
    restart_at: float | None = None


class Supervisor:
    """Workers of several functions as child processes; a context manager that drains them on the way out.

    Args:
        address: the bucket's.
        drain_seconds: how long a worker may take to finish its request before it is killed.
        environment: settings for the workers beyond this process's own environment.
    """

    def __init__(
        self,
        address: str,
        functions: Sequence[str],
        drain_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._address, self._drain_seconds = address, drain_seconds
        self._functions = tuple(functions)
        self._environment = {**os.environ, **(environment or {})}
        self._children: list[_Child] = []

    def __enter__(self) -> "Supervisor":
        self._children = [_Child(name, self._start(name), time.monotonic()) for name in self._functions]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()

    def processes(self) -> dict[str, int]:
        """The process id of each function's worker."""
        return {child.function: child.process.pid for child in self._children}

    def check(self) -> None:
        """Restart whoever died, after a pause that grows with every death in a row; call it every second or so."""
        now = time.monotonic()
        for child in self._children:
            if child.process.poll() is None:
                continue
            if child.restart_at is None:
                if now - child.started > HEALTHY_SECONDS:
                    child.pause = SHORTEST_PAUSE
                log.error(
                    "%s died with %s, restart in %.1f s", child.function, _cause(child.process.returncode), child.pause
                )
                child.restart_at = now + child.pause
                child.pause = min(2 * child.pause, LONGEST_PAUSE)
            elif now >= child.restart_at:
                child.process, child.started, child.restart_at = self._start(child.function), now, None

    def drain(self) -> None:
        """Ask all to finish and wait; who takes longer than the drain time is killed."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + self._drain_seconds + 10
        for child in self._children:
            try:
                child.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("%s did not stop in time and is killed; its request goes to the next worker", child.function)
                child.process.kill()
                child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()

    def hurry(self) -> None:
        """A second signal to all: hand the running requests back instead of finishing them."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)

    def _start(self, function: str) -> "subprocess.Popen[bytes]":
        # a session of its own: the terminal's Ctrl-C must not reach the worker twice; the pipe tells it of our death
        command = [sys.executable, "-m", "shared.cli", "worker", function, self._address, "--follow-parent"]
        environment = self._environment | self._metrics(function)
        return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)

    def _metrics(self, function: str) -> dict[str, str]:
        """Workers on one machine cannot share a port: the second function takes the next one, and so on."""
        first = self._environment.get(METRICS_PORT, "")
        return {METRICS_PORT: str(int(first) + self._functions.index(function))} if first.strip("0").isdigit() else {}


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"
