"""The child's side of `isolation.py`: loads a function, answers the parent's questions, calls it for the workspace.

| question | answer |
|---|---|
| `("answer", body, request_id, attempt)` | `("done", Answer)`, after any number of calls |
| `("evict",)` | `("done", None)`, after calls of `exists` |
| `("pointers", data)` | `("done", pointers)` |
| `("prepare", body, request_id)`, beside the others over another socket | `("done", None)`, after any number of calls |

A call is `("call", method, arguments, named)` and returns as `("returned", value)` or `("raised", error)`. Instead of
`done`, an answer may be `("refused", type, message, field, retry_after, retryable)` for a RequestError, or
`("raised", error)`.
"""

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from shared.buckets.base import BucketError
from shared.contract.function import (
    DeviceBroken,
    Function,
    FunctionFailed,
    FunctionMisconfigured,
    FunctionUnavailable,
)
from shared.contract.request import read_metadata
from shared.devices import device_errors
from shared.errors import ConfigurationError, PhotoError, PhotogError, RequestError
from shared.lifecycle.shutdown import Interrupted
from shared.observability.logs import configure, request_context
from shared.runtime.memory_reuse import keep_freed_memory, return_freed_memory
from shared.settings import Settings

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # of prctl(2): the signal to receive when the thread that started us has ended
PARENT_SECONDS = 1.0  # between two checks whether the parent is alive

Load = Callable[[str, Settings], Function]


class _Remote:
    """The child's end: a `shared.contract.workspace.Workspace` whose calls are made by the parent."""

    def __init__(self, connection: Connection, request_id: str = "", attempt: int = 0) -> None:
        self.request_id, self.attempt = request_id, attempt
        self._connection, self._turn = connection, threading.Lock()

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """Return the bytes of each picture, or why it cannot be fetched."""
        fetched: list[bytes | PhotoError] = self._call("fetch", list(references))
        return fetched

    def read(self, key: str) -> bytes | None:
        """Return an object of the bucket; None if it does not exist."""
        data: bytes | None = self._call("read", key)
        return data

    def etag(self, key: str) -> str | None:
        """Return the object's etag; None if it does not exist."""
        etag: str | None = self._call("etag", key)
        return etag

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes; None if it does not exist."""
        size: int | None = self._call("size", key)
        return size

    def exists(self, key: str) -> bool:
        """Return whether there is an object with this key."""
        return bool(self._call("exists", key))

    def save(self, name: str, data: bytes) -> str:
        """Save an artifact and return its key."""
        return str(self._call("save", name, data))

    def previous(self, name: str) -> bytes | None:
        """Return what an earlier attempt saved under `name`; None if none did."""
        data: bytes | None = self._call("previous", name)
        return data

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Report progress."""
        self._call("progress", stage, step, steps, eta_seconds, **figures)

    def check(self) -> None:
        """Raise Interrupted if the work must stop."""
        self._call("check")

    def _call(self, method: str, *arguments: object, **named: object) -> Any:
        with self._turn:
            self._connection.send(("call", method, arguments, named))
            kind, value = self._connection.recv()
        if kind == "raised":
            raise value
        return value


def serve(descriptor: int, aside: int) -> None:
    """Run the child: load the function, then answer questions until the parent is gone.

    Args:
        descriptor, aside: of the sockets for questions one after the other, and for those beside them.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a signal to the whole group is for the parent, which tells us
    connection = Connection(descriptor)
    try:
        sys.path += [place for place in connection.recv() if place not in sys.path]
        name, settings, load, parent = connection.recv()
        configure(settings.log)
        _end_with_parent(parent)
        function = _load(name, settings, load, connection)
        keep_freed_memory()
        if function is not None:
            arguments = function, Connection(aside)
            threading.Thread(target=_serve_aside, args=arguments, name="aside", daemon=True).start()
        while function is not None:
            connection.send(_reply(function, connection.recv(), connection))
            return_freed_memory()
    except (EOFError, ConnectionError):
        return  # the parent is gone


def _load(name: str, settings: Settings, load: Load, connection: Connection) -> Function | None:
    gc.disable()  # loading makes a million objects that stay; searching them again and again is a tenth of its time
    try:
        function = load(name, settings)
    except ConfigurationError as error:  # the message says everything, and the parent may not know the class
        connection.send(("unloadable", FunctionMisconfigured(f"{name} cannot be loaded: {error}")))
        return None
    except Exception as error:  # the boundary of a process: the parent must hear of it
        log.exception("%s cannot be loaded", name)
        connection.send(("unloadable", FunctionUnavailable(f"{name} cannot be loaded: {error}")))
        return None
    gc.collect()
    gc.freeze()  # nor does any later collection search them
    gc.enable()
    connection.send(("ready",))
    return function


def _reply(function: Function, question: tuple[Any, ...], connection: Connection) -> tuple[object, ...]:
    """Return the answer to one question; errors of classes that the parent may not know are converted."""
    kind, *content = question
    if kind != "answer":
        return _guard(function, lambda: _between_requests(function, kind, content, connection))
    body, request_id, attempt = content
    with request_context(function.name, request_id, attempt, read_metadata(body)):
        return _guard(function, lambda: function.answer(body, _Remote(connection, request_id, attempt)))


def _between_requests(function: Function, kind: str, content: list[Any], connection: Connection) -> object:
    if kind == "pointers":
        return function.pointers(*content)
    function.evict(_Remote(connection).exists)
    return None


def _serve_aside(function: Function, connection: Connection) -> None:
    """Make requests ready, one after the other, while others are worked on; whatever fails is left to their turn."""
    prepare = getattr(function, "prepare", None)
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            _, body, request_id = connection.recv()
            if prepare is not None:
                _prepare(function.name, lambda: prepare(body, _Remote(connection, request_id, 1)))  # noqa: B023
            connection.send(("done", None))


def _prepare(name: str, prepare: Callable[[], None]) -> None:
    try:
        prepare()
    except (EOFError, ConnectionError):
        raise
    except (PhotogError, OSError, MemoryError) as error:
        log.debug("a request of %s is made ready no further: %s", name, error)
    except Exception:  # the boundary between requests: this one fails, or not, in its own turn
        log.exception("a request of %s cannot be made ready", name)


def _guard(function: Function, work: Callable[[], object]) -> tuple[object, ...]:
    try:
        with device_errors():
            return "done", work()
    except (Interrupted, BucketError, OSError, DeviceBroken) as error:
        return "raised", error
    except RequestError as error:
        return "refused", type(error).__name__, error.message, error.field, error.retry_after, error.retryable
    except Exception as error:  # the boundary of a process: the request must be answered whatever happens in it
        log.exception("%s failed", function.name)
        return "raised", FunctionFailed(f"{type(error).__name__}: {error}")


def _end_with_parent(parent: int) -> None:
    """Let the kernel end this process with its parent, whatever native code does; a thread checks for it too."""
    with suppress(AttributeError, OSError):  # only Linux has it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch_parent, args=(parent,), name="parent", daemon=True).start()


def _watch_parent(parent: int) -> None:
    """Exit when the parent is gone, whatever is in progress: nobody would receive the answer."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
