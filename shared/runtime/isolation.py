"""A function at work in a child process: whatever native code does there, this process goes on.

The parent keeps what must never wait: claims, heartbeats, deadlines, signals, answers. The child has the models and
does the work; what it asks of its workspace is done by the parent, call by call over a socket (`work_process.py`).

| what happens | what the parent does | what becomes of the request |
|---|---|---|
| the work must stop: claim lost, deadline, handed back | says so at its next call, or kills it | as without a child |
| the child hangs in native code | the same | the same |
| the child dies: a crash, the kernel's killer of large processes | sees it at once | AttemptFailed: the attempt ended |
| the child cannot load its models (any more) | | FunctionUnavailable: the worker ends |
| the parent dies | nothing | the kernel ends the child; where it cannot, the child sees it within a second |

After a child has gone the next one begins to load at once.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from threading import Event
from typing import Any

from shared import errors
from shared.buckets.base import BucketError
from shared.contract.function import Answer, AttemptFailed, Function, FunctionUnavailable
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import RequestError
from shared.lifecycle.shutdown import Interrupted
from shared.runtime.threads import threading_environment
from shared.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05  # between two looks whether the work must stop
GRACE_SECONDS = 2.0  # for a child that is told to stop, to end its work and keep its models
ASIDE_SECONDS = 10.0  # for a question beside the requests, which a child answers in milliseconds
END_SECONDS = 5.0  # for a process whose socket has closed to be gone
START = "from shared.runtime.work_process import serve; serve({descriptor})"

Load = Callable[[str, Settings], Function]


class IsolatedFunction:
    """Implements `shared.contract.function.Function` over a child process, which loads its function at once.

    Args:
        load: gives the function; the child imports it by its module and name.
    """

    def __init__(self, name: str, settings: Settings, load: Load) -> None:
        self.name = name
        self._settings, self._load = settings, load
        self._turn = threading.Lock()  # a child has one conversation at a time
        # the kernel ends a child with the thread that started it, so that is one which lives as long as this does
        self._starter = ThreadPoolExecutor(1, "start of work processes")
        self._child = self._start()

    def await_loaded(self, stop: Event) -> bool:
        """Wait for the models; False when `stop` is set before. Raises what the loader does."""
        while not stop.is_set():
            if self._child.loaded(POLL_SECONDS):
                return True
        return False

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """What the function says; AttemptFailed when its process died."""
        with self._turn:
            while not self._child.loaded(POLL_SECONDS):
                workspace.check()
            answer: Answer = self._converse(("answer", body, workspace.request_id, workspace.attempt), workspace)
        return answer

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop in the child what is gone from the bucket; nothing while it loads or works.

        AttemptFailed when it died, or said nothing for so long that it was ended: then all is dropped.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._child.loaded(0):
                self._converse(("evict",), _Listing(exists))
        finally:
            self._turn.release()

    def pointers(self, data: Json) -> dict[str, Json]:
        """As the function says; AttemptFailed when its process died, or does not load in the time that loading has."""
        until = time.monotonic() + self._settings.health.loading_seconds
        with self._turn:
            while not self._child.loaded(POLL_SECONDS):
                if time.monotonic() > until:
                    self._renew()
                    raise AttemptFailed("the process that tells what an answer changes did not load")
            pointers: dict[str, Json] = self._converse(("pointers", data), _Listing(lambda key: False))
        return pointers

    @property
    def process_id(self) -> int | None:
        """Of the child; None where there is none at the moment."""
        return self._child.process_id

    def close(self) -> None:
        """End the child."""
        self._child.kill()
        self._starter.shutdown(wait=False)

    def _converse(self, question: tuple[object, ...], workspace: "Workspace | _Listing") -> Any:
        """Ask the child, and do what it asks in turn, until it has answered or must be ended."""
        child, desk = self._child, _Desk(workspace)
        try:
            child.connection.send(question)
            while not desk.overdue():
                if not child.connection.poll(POLL_SECONDS):
                    desk.look()
                    continue
                kind, *content = child.connection.recv()
                if kind != "call":
                    return _outcome(kind, content)
                child.connection.send(desk.call(*content))
        except (EOFError, ConnectionError) as error:
            cause = child.cause()
            self._renew()
            raise desk.stopped or AttemptFailed(f"the process that worked on it {cause}") from error
        log.warning("%s did not stop when it was told to, its process is ended", self.name)
        self._renew()
        raise desk.stopped or AttemptFailed("the work was stopped")

    def _renew(self) -> None:
        self._child.kill()
        self._child = self._start()

    def _start(self) -> "_Child":
        return self._starter.submit(_Child, self.name, self._settings, self._load).result()


class _Child:
    """The process, and the socket to it."""

    def __init__(self, name: str, settings: Settings, load: Load) -> None:
        ours, theirs = socket.socketpair()
        self._name, self._ready = name, False
        # -P: a folder named like one of our packages in the current directory must not stand in for it
        command = [sys.executable, "-P", "-c", START.format(descriptor=theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=threading_environment(settings.model, os.environ),
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.connection.send(sys.path)
        self.connection.send((name, settings, load, os.getpid()))

    def loaded(self, wait_seconds: float) -> bool:
        """Whether the function is loaded, after waiting so long for it. FunctionUnavailable, or the loader's error."""
        if self._ready or not self.connection.poll(wait_seconds):
            return self._ready
        try:
            kind, *content = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise FunctionUnavailable(f"the process of {self._name} {self.cause()} while it loaded") from error
        if kind != "ready":
            self.kill()
            raise content[0]
        self._ready = True
        return True

    @property
    def process_id(self) -> int | None:
        """None once it is known to be gone."""
        return self._process.pid if self._process.returncode is None else None

    def cause(self) -> str:
        """How a process whose socket has closed came to its end."""
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its socket"
        if code == -signal.SIGKILL:
            return "was killed, as happens when memory runs out"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


class _Desk:
    """The parent's end of a conversation: does the child's calls, and knows when the child must stop."""

    def __init__(self, workspace: "Workspace | _Listing") -> None:
        self._workspace = workspace
        self._until = float("inf")
        self.stopped: Interrupted | None = None

    def call(self, method: str, arguments: Sequence[object], named: dict[str, object]) -> tuple[str, object]:
        """One call, and what came of it."""
        try:
            return "returned", getattr(self._workspace, method)(*arguments, **named)
        except Interrupted as stopped:
            self._stop(stopped)
            return "raised", stopped
        except (RequestError, BucketError, OSError) as error:
            return "raised", error

    def look(self) -> None:
        """While the child says nothing: whether it must stop."""
        try:
            self._workspace.check()
        except Interrupted as stopped:
            self._stop(stopped)

    def overdue(self) -> bool:
        """Whether a child that must stop has had its time to."""
        return time.monotonic() > self._until

    def _stop(self, stopped: Interrupted) -> None:
        if self.stopped is None:
            self.stopped, self._until = stopped, time.monotonic() + GRACE_SECONDS


class ChildSilent(Interrupted, AttemptFailed):
    """A child did not answer a question beside its requests, and was ended."""


class _Listing:
    """What a child may ask while it drops what is gone."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self.exists, self._until = exists, time.monotonic() + ASIDE_SECONDS

    def check(self) -> None:
        """A child that says nothing any more is ended: Silent."""
        if time.monotonic() > self._until:
            raise ChildSilent("the process that does the work says nothing any more")


def _outcome(kind: str, content: list[Any]) -> Any:
    """What a child's last word means: a value, or an error to raise."""
    if kind == "done":
        return content[0]
    if kind == "refused":
        raise _request_error(*content)
    raise content[0]


def _request_error(name: str, message: str, field: str | None, retryable: bool) -> RequestError:
    """The child's RequestError; one that the function's own modules define is not imported here, with their models."""
    known = getattr(errors, name, None)
    if not isinstance(known, type) or not issubclass(known, RequestError):
        known = type(name, (RequestError,), {"retryable": retryable})
    error: RequestError = known(message, field)
    return error
