"""One process per function on one bucket: started, watched, restarted when it dies, drained at the end.

| how a worker ends | what follows |
|---|---|
| with `MISCONFIGURED` | WorkerGivenUp at once: no restart cures wrong settings or missing models |
| with `TEMPORARY_FAILURE` | a restart, however often: a store that is down comes back |
| before it was ready, `QUICK_DEATHS` times in a row | WorkerGivenUp: it would die at every start |
| in any other way | a restart |

The pause before a restart grows with every death in a row. A worker says that it is ready by a line on its output; all
other lines are copied to our standard error, and the last one is reported as the cause of its death.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from shared.errors import PhotogError
from shared.runtime.worker import READY

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.5  # seconds before a restart; doubled with each death in a row
LONGEST_PAUSE = 30.0
MOST_DOUBLINGS = 10  # far beyond the longest pause
HEALTHY_SECONDS = 60.0  # a worker that lived this long did not fail at its start
QUICK_DEATHS = 5  # 8 s of pauses and five starts: by then, whatever else was starting on the machine has started
LAST_WORDS_SECONDS = 2.0  # to read what a dead worker had written; its own child exits a second later
CAUSE_CHARACTERS = 500  # characters of a dead worker's last line
HANDING_BACK_SECONDS = 3.0  # two for the work to stop at its next step before it is killed; then its claim expires
REPEAT_SECONDS = 0.5  # between two signals to hand back
END_POLL_SECONDS = 0.05
METRICS_PORT = "PHOTOG_METRICS__PORT"
MISCONFIGURED, TEMPORARY_FAILURE = 2, 75  # exit statuses of `photog worker`


class WorkerGivenUp(PhotogError):
    """Raised when a worker cannot start; the message has its last line."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WorkerProcess(Protocol):
    """A worker as a supervisor sees it."""

    @property
    def ready(self) -> bool:
        """Whether it can serve requests."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def running(self) -> bool:
        """Return whether it has not exited yet."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still running."""

    def wait(self) -> None:
        """Wait until it has exited."""

    def status(self) -> int:
        """Return its exit status, once it has exited; negative if a signal ended it."""

    def seconds_alive(self) -> float:
        """Return the seconds since its start."""

    def cause(self) -> str:
        """Return how it ended, with its last line if it exited by itself."""

    def close(self) -> None:
        """Close what belongs to it here, once it has exited or is left alone."""


class _Child:
    """A worker's process; a thread copies what it writes, until it has exited."""

    def __init__(self, function: str, address: str, environment: Mapping[str, str]) -> None:
        self.ready = False
        self._started, self._last_line = time.monotonic(), ""
        # a session of its own, since the terminal's Ctrl-C must not reach the worker twice; stdin closes if we die
        self.process = subprocess.Popen(
            worker_command(function, address),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {function}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    def running(self) -> bool:
        """Return whether the process has not exited yet."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if it is still running."""
        if self.running():
            self.process.send_signal(number)

    def wait(self) -> None:
        """Wait until the process has exited."""
        self.process.wait()

    def status(self) -> int:
        """Return the exit status."""
        return self.process.returncode

    def seconds_alive(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self._started

    def cause(self) -> str:
        """Return how it ended, with its last line if it exited by itself."""
        self._reader.join(LAST_WORDS_SECONDS)
        return describe_end(self.status(), self._last_line)

    def close(self) -> None:
        """Close its standard input, once it has exited."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _read(self) -> None:
        if self.process.stdout is None:
            return
        for line in self.process.stdout:
            text = line.decode(errors="replace")
            if text.strip() == READY:
                self.ready = True
                continue
            self._last_line = text.strip() or self._last_line
            with suppress(OSError, ValueError):  # our own standard error may be closed; the worker must not block on it
                sys.stderr.write(text)
                sys.stderr.flush()


Start = Callable[[str, str, Mapping[str, str]], WorkerProcess]


@dataclass
class _Post:
    """One supervised function: its current worker, and its restarts."""

    function: str
    child: WorkerProcess
    restart_at: float | None = None
    deaths: int = 0  # in a row, none of them after a long life
    quick_deaths: int = 0  # in a row, before the worker was ready


class Supervisor:
    """Workers of several functions as child processes; a context manager that drains them on exit.

    Args:
        address: the bucket's address.
        drain_seconds: how long a worker may take to finish its request before it is killed.
        environment: settings for the workers in addition to this process's environment.
        start: starts a function's worker on an address with an environment, or finds one; by default a child process.
    """

    def __init__(
        self,
        address: str,
        functions: Sequence[str],
        drain_seconds: float,
        environment: Mapping[str, str] | None = None,
        start: Start | None = None,
    ) -> None:
        self._begin = start or _Child
        self._address, self._drain_seconds = address, drain_seconds
        self._functions = tuple(functions)
        self._environment = {**os.environ, **(environment or {})}
        self._posts: list[_Post] = []
        self._hand_back_at = self._kill_at = float("inf")

    def __enter__(self) -> "Supervisor":
        try:
            for name in self._functions:
                self._posts.append(_Post(name, self._start(name)))
        except BaseException:  # an interrupt while one ends to make room for the next
            self.hand_back()
            self.drain()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()

    def processes(self) -> dict[str, int]:
        """Return the process id of each function's worker."""
        return {post.function: post.child.pid for post in self._posts}

    def ready(self) -> bool:
        """Return whether all workers are."""
        return all(post.child.ready for post in self._posts)

    def check(self) -> None:
        """Restart workers that died, after a pause that grows with every death in a row; call this every second or so.

        Raises WorkerGivenUp for a worker that no restart helps; the others run on until they are drained.
        """
        now = time.monotonic()
        for post in self._posts:
            if post.child.running():
                continue
            if post.restart_at is None:
                self._note_death(post)
            elif now >= post.restart_at:
                post.child, post.restart_at = self._start(post.function), None

    def hand_back(self, after_seconds: float = 0.0) -> None:
        """Limit the time that `drain`, even if in progress, gives to running requests; other workers resume them."""
        self._hand_back_at = time.monotonic() + after_seconds
        self._kill_at = min(self._kill_at, self._hand_back_at + HANDING_BACK_SECONDS)

    def drain(self) -> None:
        """Ask all workers to finish, and wait; those that exceed the drain time are killed."""
        self._kill_at = min(self._kill_at, time.monotonic() + self._drain_seconds + 10)
        self._signal()
        while self._working() and time.monotonic() < self._kill_at:
            if time.monotonic() >= self._hand_back_at:
                self._signal()
                # repeated, because a signal is lost while the same one is pending
                self._hand_back_at = time.monotonic() + REPEAT_SECONDS
            time.sleep(END_POLL_SECONDS)
        for post in self._working():
            log.error("%s did not stop in time and is killed; its request goes to the next worker", post.function)
            post.child.signal(signal.SIGKILL)
        for post in self._posts:
            post.child.wait()
            post.child.close()

    def leave(self, ending: Sequence[str] = ()) -> None:
        """Leave the workers alone from now on, to end by themselves; those of the functions in `ending` at once."""
        for post in self._posts:
            if post.function in ending:
                post.child.signal(signal.SIGTERM)
            post.child.close()
        self._posts = []

    def _working(self) -> list[_Post]:
        return [post for post in self._posts if post.child.running()]

    def _signal(self) -> None:
        """Signal all workers: the first signal asks them to finish, a second to hand the running requests back."""
        for post in self._posts:
            post.child.signal(signal.SIGTERM)

    def _start(self, function: str) -> WorkerProcess:
        return self._begin(function, self._address, self._environment | self._metrics(function))

    def _note_death(self, post: _Post) -> None:
        """Count a death, and schedule the restart."""
        child, status = post.child, post.child.status()
        cause, healthy = child.cause(), child.seconds_alive() > HEALTHY_SECONDS
        child.close()
        if status == MISCONFIGURED:
            raise WorkerGivenUp(f"{post.function} cannot start, {cause}", status)
        started = child.ready or healthy or status == TEMPORARY_FAILURE
        post.quick_deaths = 0 if started else post.quick_deaths + 1
        if post.quick_deaths == QUICK_DEATHS:
            raise WorkerGivenUp(f"{post.function} died {QUICK_DEATHS} times before it was ready, {cause}", 1)
        post.deaths = 0 if healthy else post.deaths
        pause = min(SHORTEST_PAUSE * 2**post.deaths, LONGEST_PAUSE)
        post.deaths = min(post.deaths + 1, MOST_DOUBLINGS)
        log.error("%s died with %s, restart in %.1f s", post.function, cause, pause)
        post.restart_at = time.monotonic() + pause

    def _metrics(self, function: str) -> dict[str, str]:
        """Return the worker's metrics port: workers cannot share one, so each function takes the next number."""
        first = self._environment.get(METRICS_PORT, "")
        return {METRICS_PORT: str(int(first) + self._functions.index(function))} if first.strip("0").isdigit() else {}


def describe_end(status: int, last_line: str) -> str:
    """Return how a worker ended: by which signal, or with which status after which last line."""
    if status < 0:
        return signal.Signals(-status).name
    said = last_line.removeprefix("photog: ")[:CAUSE_CHARACTERS]
    return f"exit status {status}" + (f": {said}" if said else "")


def worker_command(function: str, address: str, *options: str) -> list[str]:
    """Return the command that starts a worker with these options; without any, it ends with its parent.

    With -P, so that a folder of the current directory cannot shadow a package of ours.
    """
    return [sys.executable, "-P", "-m", "shared.cli", "worker", function, address, *(options or ("--follow-parent",))]
