"""A worker that outlives the command which started it, and serves the next one; see `seat.py`."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO

from shared.runtime.seat import Seat, seat_of, share
from shared.runtime.supervisor import describe_end, worker_command

log = logging.getLogger(__name__)

NEED_SECONDS = 2.0  # between two signs to the worker that a command needs it
RETIRING_SECONDS = 60.0  # for a request of another command that a worker with other settings works on
END_SECONDS = 0.05
TURN_SECONDS = 0.2  # between two looks whether other commands are done
LOG = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
LAST_BYTES = 4096  # of the log that hold the last line


class WarmWorker:
    """Implements `shared.runtime.supervisor.WorkerProcess`: the worker that has the seat, or a new one.

    A worker with other settings, or of another release, is asked to end first: it would answer our request its way. If
    other commands use it, this waits until they are done: two commands would end each other's worker for ever.

    Args:
        function, address: its function and bucket.
        environment: of a new worker.
        idle_seconds: after which it ends itself.
        aloud: copy what it writes to our standard error.
    """

    def __init__(
        self, function: str, address: str, environment: Mapping[str, str], idle_seconds: float, aloud: bool
    ) -> None:
        self._seat = seat_of(function, address)
        self._process: subprocess.Popen[bytes] | None = None
        self._started, self._needed_at = time.monotonic(), float("-inf")
        self._use = self._find_or_start(function, address, environment, idle_seconds)
        self._output: IO[bytes] | None = None
        if aloud and self._seat.log.exists():
            self._output = self._seat.log.open("rb")
            self._output.seek(0, os.SEEK_END if self._process is None else os.SEEK_SET)

    def _find_or_start(
        self, function: str, address: str, environment: Mapping[str, str], idle_seconds: float
    ) -> IO[bytes]:
        """Use the worker, after commands that use one with other settings; returns what `Seat.use` does."""
        told = False
        while True:
            if (use := self._seat.use()) is not None:
                if self._suits(environment):
                    return use
                use.close()
            if (use := self._seat.use(alone=True)) is not None:
                if not self._suits(environment):  # it does if another command was faster
                    self._seat.retire(RETIRING_SECONDS)
                    self._process = _start(self._seat, function, address, environment, idle_seconds)
                share(use)
                return use
            if not told and self._seat.is_held() and not self._suits(environment):
                told = True
                log.warning("another command uses %s on %s with other settings: waiting for its end", function, address)
            time.sleep(TURN_SECONDS)

    def _suits(self, environment: Mapping[str, str]) -> bool:
        holder = self._seat.holder()
        return holder is not None and holder.suits(environment)

    @property
    def ready(self) -> bool:
        """Whether its models are loaded."""
        holder = self._seat.holder()
        return holder is not None and holder.state == "ready"

    @property
    def pid(self) -> int:
        """Its process id; 0 once it is gone."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        holder = self._seat.holder()
        return 0 if holder is None else holder.pid

    def running(self) -> bool:
        """Return whether it has not exited yet; while it has not, it hears that it is needed."""
        self._copy()
        if time.monotonic() - self._needed_at > NEED_SECONDS:
            self._needed_at = time.monotonic()
            self._seat.need()
        return (self._process is not None and self._process.poll() is None) or self._seat.is_held()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
        else:
            self._seat.signal(number)

    def wait(self) -> None:
        """Wait until it has exited."""
        while self.running():
            time.sleep(END_SECONDS)

    def status(self) -> int:
        """Return its exit status; 0 for one that another command has started, whose status nobody knows."""
        return 0 if self._process is None or self._process.returncode is None else self._process.returncode

    def seconds_alive(self) -> float:
        """Return the seconds since we have started or found it."""
        return time.monotonic() - self._started

    def cause(self) -> str:
        """Return how it ended, with its last line if it exited by itself, and where the others are."""
        try:
            lines = self._seat.log.read_bytes()[-LAST_BYTES:].decode(errors="replace").split("\n")
        except FileNotFoundError:
            return describe_end(self.status(), "")
        return describe_end(self.status(), next((one.strip() for one in reversed(lines) if one.strip()), ""))

    def close(self) -> None:
        """Stop copying what it writes."""
        self._copy()
        if self._output is not None:
            self._output.close()
            self._output = None
        self._use.close()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # it is left alone: nobody here waits for it any more

    def _copy(self) -> None:
        if self._output is not None:
            sys.stderr.write(self._output.read().decode(errors="replace"))
            sys.stderr.flush()


def _start(
    seat: Seat, function: str, address: str, environment: Mapping[str, str], idle_seconds: float
) -> "subprocess.Popen[bytes]":
    """Start a worker in a session of its own: neither Ctrl-C nor a closed terminal ends it."""
    command = worker_command(function, address, "--standby", f"{idle_seconds:g}")
    with open(os.open(seat.log, LOG, 0o600), "ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
        )
