"""A function that runs in a child process, so that the parent goes on whatever native code does there.

The parent keeps what must never wait: claims, heartbeats, deadlines, signals, answers. The child has the models and
does the work; the calls of its workspace are made by the parent, one by one over a socket (`work_process.py`).

| what happens | what the parent does | what becomes of the request |
|---|---|---|
| the work must stop: claim lost, deadline, handed back | says so at its next call, or kills it | as without a child |
| the child hangs in native code | the same | the same |
| the child dies: a crash, the kernel's OOM killer | sees it at once | AttemptFailed: the attempt ended |
| the child cannot load its models (any more) | | FunctionUnavailable: the worker ends |
| the worker ends while somebody still converses | starts no other child | HandedBack |
| the parent dies | nothing | the kernel ends the child, or else the child notices within a second |

When a child is gone, the next one begins to load at once.
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
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Event
from typing import Any

from shared import errors
from shared.buckets.base import BucketError
from shared.contract.function import Answer, AttemptFailed, Function, FunctionUnavailable
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import RequestError
from shared.lifecycle.shutdown import HandedBack, Interrupted
from shared.runtime.threads import threading_environment
from shared.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05  # between two checks whether the work must stop
GRACE_SECONDS = 2.0  # for a child told to stop to end its work, so that it keeps its models
ASIDE_POLL_SECONDS = 0.005  # between two looks whether a request that is made ready has its turn, which waits for them
ASIDE_SECONDS = 10.0  # for a question between requests, which a child answers in milliseconds
END_SECONDS = 5.0  # for a process to exit after its socket closed
ENDING = "this worker is ending"
START = "from shared.runtime.work_process import serve; serve({descriptor}, {aside})"

Load = Callable[[str, Settings], Function]


class IsolatedFunction:
    """Implements `shared.contract.function.Function` with a child process, which starts loading the function at once.

    Args:
        load: returns the function; the child imports it by its module and name.
    """

    def __init__(self, name: str, settings: Settings, load: Load) -> None:
        self.name = name
        self._settings, self._load = settings, load
        self._turn = threading.Lock()  # one conversation with the child at a time
        self._preparing = threading.Lock()
        self._life, self._closed = threading.Lock(), False  # no child is started once it is closed
        # the kernel ends a child together with the thread that started it, so this thread must live as long as self
        self._starter = ThreadPoolExecutor(1, "start of work processes")
        self._child = self._start()

    def await_loaded(self, stop: Event) -> bool:
        """Wait until the models are loaded; False if `stop` is set first. Raises the loader's errors."""
        while not stop.is_set():
            if self._child.await_loaded(POLL_SECONDS):
                return True
        return False

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Return the function's answer; raises AttemptFailed if the child died."""
        with self._turn:
            while not self._is_loaded(POLL_SECONDS):
                workspace.check()
            answer: Answer = self._converse(("answer", body, workspace.request_id, workspace.attempt), workspace)
        return answer

    def prepare(self, body: Json, workspace: Workspace) -> None:
        """Make a request ready beside the one that is worked on.

        Raises Interrupted as soon as the workspace does, even if the child goes on for a moment. Does nothing if the
        child loads, is gone, or has not yet given up the request before.
        """
        if self._preparing.acquire(blocking=False):
            try:
                self._child.prepare(body, workspace)
            finally:
                self._preparing.release()

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Make the child drop what is gone from the bucket; does nothing while it loads or works.

        Raises AttemptFailed if the child died, or was silent for so long that it was ended: then everything is dropped.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._is_loaded(0):
                self._converse(("evict",), _BetweenRequests(exists))
        finally:
            self._turn.release()

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return the function's pointers; raises AttemptFailed if the child died or exceeded its time to load."""
        until = time.monotonic() + self._settings.health.loading_seconds
        with self._turn:
            while not self._is_loaded(POLL_SECONDS):
                if time.monotonic() > until:
                    self._renew()
                    raise AttemptFailed("the process that has to name an answer's pointers did not load in time")
            pointers: dict[str, Json] = self._converse(("pointers", data), _BetweenRequests(lambda key: False))
        return pointers

    @property
    def process_id(self) -> int | None:
        """The child's process id; None if there is no child at the moment."""
        return self._child.process_id

    def close(self) -> None:
        """End the child; whoever converses with it at this moment gets HandedBack."""
        with self._life:
            self._closed = True
        self._child.end()
        if self._turn.acquire(blocking=False):  # else the thread that has the turn closes it, as it hears of the end
            self._child.connection.close()
            self._turn.release()
        self._starter.shutdown(wait=False)

    def _is_loaded(self, wait_seconds: float) -> bool:
        try:
            return self._child.await_loaded(wait_seconds)
        except FunctionUnavailable:
            if self._closed:
                raise HandedBack(ENDING) from None
            raise

    def _converse(self, question: tuple[object, ...], workspace: "Workspace | _BetweenRequests") -> Any:
        """Send the child a question and serve its calls, until it has answered or must be ended."""
        if self._closed:
            raise HandedBack(ENDING)
        child, conversation = self._child, _Conversation(workspace)
        try:
            child.connection.send(question)
            while not conversation.overdue():
                if not child.connection.poll(POLL_SECONDS):
                    conversation.look()
                    continue
                kind, *content = child.connection.recv()
                if kind != "call":
                    return _read_outcome(kind, content)
                child.connection.send(conversation.call(*content))
        except (EOFError, ConnectionError) as error:
            cause = child.cause()
            self._renew()
            raise conversation.stopped or AttemptFailed(f"the process that worked on it {cause}") from error
        log.warning("%s did not stop when told to, its process is killed", self.name)
        self._renew()
        raise conversation.stopped or AttemptFailed("the work was stopped")

    def _renew(self) -> None:
        """Replace the child; raises HandedBack if this function is closed, which is why the child is gone then."""
        with self._life:
            self._child.kill()
            if self._closed:
                raise HandedBack(ENDING)
            self._child = self._start()

    def _start(self) -> "_Child":
        return self._starter.submit(_Child, self.name, self._settings, self._load).result()


class _Child:
    """The child process, and the socket to it."""

    def __init__(self, name: str, settings: Settings, load: Load) -> None:
        ours, theirs = socket.socketpair()
        aside, its_aside = socket.socketpair()
        self._name, self._ready, self._prepares = name, False, False
        # -P: a folder of the current directory with the name of a package of ours must not shadow it
        command = [sys.executable, "-P", "-c", START.format(descriptor=theirs.fileno(), aside=its_aside.fileno())]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno(), its_aside.fileno()],
            stdin=subprocess.DEVNULL,
            env=threading_environment(settings.model, os.environ),
        )
        theirs.close()
        its_aside.close()
        self.connection, self._aside = Connection(ours.detach()), Connection(aside.detach())
        self.connection.send(sys.path)
        self.connection.send((name, settings, load, os.getpid()))

    def await_loaded(self, wait_seconds: float) -> bool:
        """Wait up to `wait_seconds`, and return whether the function is loaded.

        Raises FunctionUnavailable, or the loader's error.
        """
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

    def prepare(self, body: Json, workspace: Workspace) -> None:
        """Make a request ready; see `IsolatedFunction.prepare`."""
        if not self._ready:
            return
        with suppress(EOFError, OSError):  # the child is gone; whoever works with it sees to that
            if not self._ends_preparing():
                return
            self._aside.send(("prepare", body, workspace.request_id))
            self._prepares, conversation = True, _Conversation(workspace)
            while self._prepares:
                workspace.check()
                if self._aside.poll(ASIDE_POLL_SECONDS):
                    self._hear(conversation.call)

    def _ends_preparing(self) -> bool:
        """Return whether the child has given up the request before, whose turn had come; its calls are refused."""
        over = Interrupted("its turn has come")
        while self._prepares and self._aside.poll():
            self._hear(lambda *_: ("raised", over))
        return not self._prepares

    def _hear(self, call: Callable[..., tuple[str, object]]) -> None:
        kind, *content = self._aside.recv()
        if kind == "call":
            self._aside.send(call(*content))
        else:
            self._prepares = False

    @property
    def process_id(self) -> int | None:
        """The process id; None once the process is known to be gone."""
        return self._process.pid if self._process.returncode is None else None

    def cause(self) -> str:
        """Return how the process ended, once its socket has closed."""
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its socket"
        if code == -signal.SIGKILL:
            return "was killed, probably because memory ran out"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"

    def end(self) -> None:
        """Kill the process at once; a thread that converses with it hears of it by the connection."""
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """Kill the process at once, and close the connection of the conversations, which the caller must have."""
        self.end()
        self.connection.close()  # the other one may be in use by a thread, which hears of the end from it


class _Conversation:
    """The parent's end of a conversation: makes the child's calls, and knows when the child must stop."""

    def __init__(self, workspace: "Workspace | _BetweenRequests") -> None:
        self._workspace = workspace
        self._until = float("inf")
        self.stopped: Interrupted | None = None

    def call(self, method: str, arguments: Sequence[object], named: dict[str, object]) -> tuple[str, object]:
        """Make one call of the child, and return its result or error."""
        try:
            return "returned", getattr(self._workspace, method)(*arguments, **named)
        except Interrupted as stopped:
            self._stop(stopped)
            return "raised", stopped
        except (RequestError, BucketError, OSError) as error:
            return "raised", error

    def look(self) -> None:
        """Check whether a silent child must stop."""
        try:
            self._workspace.check()
        except Interrupted as stopped:
            self._stop(stopped)

    def overdue(self) -> bool:
        """Return whether a child that must stop has used up its time to do so."""
        return time.monotonic() > self._until

    def _stop(self, stopped: Interrupted) -> None:
        if self.stopped is None:
            self.stopped, self._until = stopped, time.monotonic() + GRACE_SECONDS


class ChildSilent(Interrupted, AttemptFailed):
    """A child did not answer a question between requests, and was ended."""


class _BetweenRequests:
    """The calls that a child may make while it answers a question between requests."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self.exists, self._until = exists, time.monotonic() + ASIDE_SECONDS

    def check(self) -> None:
        """Raise ChildSilent if the child has taken too long."""
        if time.monotonic() > self._until:
            raise ChildSilent("the function's process does not answer any more")


def _read_outcome(kind: str, content: list[Any]) -> Any:
    """Return the value in a child's final message, or raise the error in it."""
    if kind == "done":
        return content[0]
    if kind == "refused":
        raise _rebuild_error(*content)
    raise content[0]


def _rebuild_error(
    name: str, message: str, field: str | None, retry_after: int | None, retryable: bool
) -> RequestError:
    """Return the child's RequestError.

    A class defined in the function's own modules is imitated, because importing it would load the models' packages
    here.
    """
    known = getattr(errors, name, None)
    if not isinstance(known, type) or not issubclass(known, RequestError):
        known = type(name, (RequestError,), {})
    error: RequestError = known(message, field)
    error.retryable, error.retry_after = retryable, retry_after
    return error
