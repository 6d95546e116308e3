"""An HTTP entry for platforms that push events: one request per call, one call at a time.

| call | answer |
|---|---|
| `POST /invoke`, a storage event | 200 `{"outcomes": {key: outcome}}`; the answers lie in the bucket |
| `POST /initialize` | 200 once the function and its models are loaded; `/invoke` loads them too if nobody did before |
| `GET /healthz` | 200 `{"state": "starting" | "ready" | "busy"}`, 503 while `"stopping"` |

Whatever is not 200 has `{"error": {"type", "message", "retryable"}}`: 4xx for what can never be served, 503 for what
another try may. This is the contract of Function Compute's custom containers (port 9000, paths, `x-fc-*`), where
`x-fc-status` says that an invocation failed and is tried again. MinIO's webhooks and CloudEvents over HTTP fit too.
"""

import json
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

from shared.buckets.base import BucketError, InvalidKey
from shared.configuration import ConfigurationError
from shared.context import Context
from shared.events import UnknownEvent
from shared.function import FunctionUnavailable
from shared.interruption import Shutdown
from shared.invocation import Outcome
from shared.manifests import Json

log = logging.getLogger(__name__)

LARGEST_EVENT = 1 << 20  # bytes; stores send at most 256 KiB
LONGEST_LENGTH = 20  # digits of a Content-Length; Python refuses to read thousands as a number
IDLE_CONNECTION = 900.0  # seconds; Function Compute wants kept-alive connections to last 15 minutes
STOP_POLL = 0.05  # seconds between two looks whether to stop listening
ANSWER_SECONDS = 1.0  # for the last answer to leave after the work is done
UNSETTLED = {outcome.value for outcome in Outcome if not outcome.settled}


class HttpError(Exception):
    """An answer other than 200.

    Args:
        retryable: whether the very same call may succeed later.
    """

    def __init__(self, status: HTTPStatus, kind: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"type": kind, "message": message, "retryable": retryable}}


class Desk:
    """Serves the calls for one function, whichever thread they come in on."""

    def __init__(self, context: Context, function: str, shutdown: Shutdown) -> None:
        self._context, self._function, self._shutdown = context, function, shutdown
        self._working, self._loaded = threading.Lock(), False
        self.broken: FunctionUnavailable | ConfigurationError | None = None

    def state(self) -> str:
        """`starting`, `ready`, `busy` or `stopping`."""
        if self._shutdown.requested.is_set():
            return "stopping"
        if self._working.locked():
            return "busy" if self._loaded else "starting"
        return "ready" if self._loaded else "starting"

    def initialize(self) -> Json:
        """Load the function and its models."""
        with self._working, self._available():
            self._load()
        return {"state": "ready"}

    def invoke(self, event: Json) -> Json:
        """Serve an event to its end; HttpError when it has to come again or can never be served."""
        if self._shutdown.requested.is_set():
            raise _later("Stopping", "this instance is going down")
        if not self._working.acquire(blocking=False):
            raise _later("Busy", "this instance works on another request")
        try:
            with self._available():
                self._load()
                answer = self._context.handle(self._function, event)
        except (UnknownEvent, InvalidKey) as error:
            raise HttpError(HTTPStatus.BAD_REQUEST, type(error).__name__, str(error)) from error
        except (BucketError, OSError) as error:
            raise _later(type(error).__name__, str(error)) from error
        finally:
            self._working.release()
        waiting = [key for key, outcome in answer["outcomes"].items() if outcome in UNSETTLED]
        if waiting:
            raise _later("Unsettled", f"not answered yet: {', '.join(waiting)}")
        return answer

    def drained(self, seconds: float) -> bool:
        """Wait for the running call; whether it has ended. None begins after the wish to stop."""
        ended = self._working.acquire(timeout=seconds)
        if ended:
            self._working.release()
        return ended

    def _load(self) -> None:
        self._context.invocation(self._function)
        self._context.await_loaded()
        self._loaded = True

    @contextmanager
    def _available(self) -> Iterator[None]:
        """The end of this instance, too, where the function cannot be loaded: the platform starts another."""
        try:
            yield
        except (FunctionUnavailable, ConfigurationError) as error:
            self.broken = error
            self._shutdown.request()
            raise _later(type(error).__name__, str(error)) from error


class HttpEntry:
    """The server: listens from the start, so that a platform sees it while models load; SIGTERM drains."""

    def __init__(self, desk: Desk, shutdown: Shutdown, drain_seconds: float, address: tuple[str, int]) -> None:
        self._desk, self._shutdown, self._drain_seconds = desk, shutdown, drain_seconds
        self._server = _Server(address, desk)
        self.port: int = self._server.server_address[1]

    def run(self) -> None:
        """Until SIGTERM or SIGINT; a second signal hands the running request back."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        self.start()
        self._shutdown.requested.wait()
        self.stop()

    def start(self) -> None:
        """Serve in threads of its own."""
        threading.Thread(target=self._server.serve_forever, args=(STOP_POLL,), name="http", daemon=True).start()
        log.info("listening on port %d", self.port)

    def stop(self) -> None:
        """Let the running call end and its answer go out, then close."""
        if not self._desk.drained(self._drain_seconds + 5):
            log.error("the running request did not end in time; another worker takes it over")
        self._server.shutdown()
        self._server.answered(ANSWER_SECONDS)
        self._server.server_close()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        log.info("got %s", signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())


class _Server(ThreadingHTTPServer):
    """Threads are daemons: an idle kept-alive connection must not hold the process."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], desk: Desk) -> None:
        super().__init__(address, _Handler)
        self.desk = desk
        self._calls = threading.Condition()
        self._open = 0

    def count(self, change: int) -> None:
        """A call begins (+1) or its answer has been sent (-1)."""
        with self._calls:
            self._open += change
            self._calls.notify_all()

    def answered(self, seconds: float) -> bool:
        """Wait until no answer is still being sent."""
        with self._calls:
            return self._calls.wait_for(lambda: self._open == 0, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive
    timeout = IDLE_CONNECTION
    server: _Server

    def do_GET(self) -> None:
        state = self.server.desk.state()
        if self.path != "/healthz":
            self._send(HTTPStatus.NOT_FOUND, _unknown(self.path).body)
        else:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE if state == "stopping" else HTTPStatus.OK, {"state": state})

    def do_POST(self) -> None:
        self.server.count(+1)
        try:
            self._send(HTTPStatus.OK, self._called())
        except HttpError as error:
            log.warning("%s %s: %s", self.path, self.headers.get("x-fc-request-id", "-"), error)
            self._send(error.status, error.body)
        except Exception as error:  # the boundary: a caller that gets no answer cannot know that it may try again
            log.exception("%s failed", self.path)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, _failed(error).body)
        finally:
            self.server.count(-1)

    def _called(self) -> Json:
        text = self._text()
        if self.path == "/initialize":
            return self.server.desk.initialize()
        if self.path != "/invoke":
            raise _unknown(self.path)
        try:
            event = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise HttpError(HTTPStatus.BAD_REQUEST, "NotJson", f"the body is no JSON: {error}") from error
        if not isinstance(event, dict):
            raise HttpError(HTTPStatus.BAD_REQUEST, "UnknownEvent", "the body is no JSON object")
        return self.server.desk.invoke(self._enveloped(event))

    def _enveloped(self, event: Json) -> Json:
        """A CloudEvent in binary mode has its attributes in `ce-` headers and only its data in the body."""
        if "ce-specversion" not in self.headers:
            return event
        attributes = {name[3:].lower(): value for name, value in self.headers.items() if name.lower().startswith("ce-")}
        return attributes | {"data": event}

    def _text(self) -> bytes:
        """The body; when it is not read to its end the connection closes, since its rest would look like a call."""
        length = self.headers.get("content-length", "")
        self.close_connection = True
        if not length.isdecimal() or len(length) > LONGEST_LENGTH:
            raise HttpError(HTTPStatus.LENGTH_REQUIRED, "NoLength", "a call needs its Content-Length")
        if int(length) > LARGEST_EVENT:
            limit = f"an event has at most {LARGEST_EVENT} bytes, this one {length}"
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "EventTooLarge", limit)
        text = self.rfile.read(int(length))
        self.close_connection = self.headers.get("connection", "").lower() == "close"
        return text

    def _send(self, status: HTTPStatus, body: Json) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if self.command == "POST":
            self.send_header("x-fc-status", "200" if status == HTTPStatus.OK else "404")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)


def _later(kind: str, message: str) -> HttpError:
    return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, kind, message, retryable=True)


def _failed(error: Exception) -> HttpError:
    message = f"{type(error).__name__}: {error}; the log has the trace"
    return HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message, retryable=True)


def _unknown(path: str) -> HttpError:
    return HttpError(
        HTTPStatus.NOT_FOUND, "NotFound", f"there is no {path}; there are /invoke, /initialize and /healthz"
    )
