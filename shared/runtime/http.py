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

import asyncio
import concurrent.futures
import json
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.buckets.base import BucketError, InvalidKey
from shared.contract.function import FunctionUnavailable
from shared.contract.manifests import Json
from shared.errors import ConfigurationError, PhotogError
from shared.events import UnknownEvent
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.runtime.context import Context

log = logging.getLogger(__name__)

LARGEST_EVENT = 1 << 20  # bytes; stores send at most 256 KiB
IDLE_CONNECTION = 900  # seconds; Function Compute wants kept-alive connections to last 15 minutes
ANSWER_SECONDS = 1  # for the last answer to leave after the work is done
UNSETTLED = {outcome.value for outcome in Outcome if not outcome.settled}


class HttpError(PhotogError):
    """An answer other than 200.

    Args:
        retryable: whether the very same call may succeed later.
        close: whether the connection ends, since what is left of the call's body would look like the next call.
    """

    def __init__(
        self, status: HTTPStatus, kind: str, message: str, retryable: bool = False, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.close = status, close
        self.body: Json = {"error": {"type": kind, "message": message, "retryable": retryable}}


class InvocationService:
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

    def __init__(
        self, desk: InvocationService, shutdown: Shutdown, drain_seconds: float, address: tuple[str, int]
    ) -> None:
        self._desk, self._shutdown, self._drain_seconds = desk, shutdown, drain_seconds
        self._socket = socket.create_server(address)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                build_application(desk),
                http=_Connection,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                timeout_keep_alive=IDLE_CONNECTION,
                timeout_graceful_shutdown=ANSWER_SECONDS,
            )
        )
        # off the main thread uvicorn leaves signals alone: it would stop to listen at once, and `/healthz` be gone
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def run(self) -> None:
        """Until SIGTERM or SIGINT; a second signal hands the running request back."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signaled)
        self.start()
        self._shutdown.requested.wait()
        self.stop()

    def start(self) -> None:
        """Serve in threads of its own."""
        self._thread.start()
        log.info("listening on port %d", self.port)

    def stop(self) -> None:
        """Let the running call end and its answer go out, then close."""
        if not self._desk.drained(self._drain_seconds + 5):
            log.error("the running request did not end in time; another worker takes it over")
        self._server.should_exit = True
        self._thread.join()

    def _signaled(self, number: int, frame: FrameType | None) -> None:
        log.info("got %s", signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())


def build_application(desk: InvocationService) -> Starlette:
    """The paths, over a desk."""

    async def healthz(request: Request) -> Response:
        state = desk.state()
        status = HTTPStatus.SERVICE_UNAVAILABLE if state == "stopping" else HTTPStatus.OK
        return _answer(request, status, {"state": state})

    async def initialize(request: Request) -> Response:
        await _read_body(request)
        return await _serve(request, desk.initialize)

    async def invoke(request: Request) -> Response:
        text = await _read_body(request)
        return await _serve(request, lambda: desk.invoke(_parse_event(text, request.headers)))

    made = Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/initialize", initialize, methods=["POST"]),
            Route("/invoke", invoke, methods=["POST"]),
        ],
        exception_handlers={HttpError: _refuse, HTTPException: _refuse_path},
    )
    made.router.redirect_slashes = False
    return made


class _Connection(H11Protocol):
    """uvicorn's, which bounds the time between two calls; here also that before the first and within a call's head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()

    def _await_head(self) -> None:
        if self.timeout_keep_alive_task is None:
            wait = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task = wait


async def _read_body(request: Request) -> bytes:
    """The body; the connection closes when it is not read to its end."""
    length = request.headers.get("content-length")
    if length is None or "transfer-encoding" in request.headers:  # which would count, and not the length
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "NoLength", "a call needs its Content-Length", close=True)
    if int(length) > LARGEST_EVENT:
        limit = f"an event has at most {LARGEST_EVENT} bytes, this one {length}"
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "EventTooLarge", limit, close=True)
    try:
        async with asyncio.timeout(IDLE_CONNECTION):
            return await request.body()
    except (TimeoutError, ClientDisconnect) as error:
        raise HttpError(
            HTTPStatus.REQUEST_TIMEOUT, "HalfBody", "the body did not come to its end", True, close=True
        ) from error


def _parse_event(text: bytes, headers: Headers) -> Json:
    """A body's event. A CloudEvent in binary mode has its attributes in `ce-` headers and only its data in the body."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "NotJson", f"the body is no JSON: {error}") from error
    if not isinstance(event, dict):
        raise HttpError(HTTPStatus.BAD_REQUEST, "UnknownEvent", "the body is no JSON object")
    if "ce-specversion" not in headers:
        return event
    return {name[3:]: value for name, value in headers.items() if name.startswith("ce-")} | {"data": event}


async def _serve(request: Request, call: Callable[[], Json]) -> Response:
    try:
        return _answer(request, HTTPStatus.OK, await _run_in_thread(call))
    except HttpError:
        raise
    except Exception as error:  # the boundary: a caller that gets no answer cannot know that it may try again
        log.exception("%s failed", _path(request))
        message = f"{type(error).__name__}: {error}; the log has the trace"
        failure = HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message, retryable=True)
        return _answer(request, failure.status, failure.body)


async def _run_in_thread(call: Callable[[], Json]) -> Json:
    """Call in a daemon thread, unlike starlette's pool: what does not end in time must not hold the process."""
    ended: concurrent.futures.Future[Json] = concurrent.futures.Future()
    ended.set_running_or_notify_cancel()

    def run() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            ended.set_exception(error)

    threading.Thread(target=run, name="call", daemon=True).start()
    return await asyncio.wrap_future(ended)


def _answer(request: Request, status: HTTPStatus, body: Json, close: bool = False) -> Response:
    headers = {"x-fc-status": "200" if status == HTTPStatus.OK else "404"} if request.method == "POST" else {}
    # in ASCII, as starlette's JSONResponse is not: a key may hold half a surrogate pair, which is no UTF-8
    return Response(json.dumps(body), status, headers | ({"connection": "close"} if close else {}), "application/json")


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    log.warning("%s %s: %s", _path(request), request.headers.get("x-fc-request-id", "-"), error)
    return _answer(request, error.status, error.body, error.close)


async def _refuse_path(request: Request, error: Exception) -> Response:
    """A path that is not there, or not for this method."""
    message = f"there is no {request.method} {_path(request)}; there are /invoke, /initialize and /healthz"
    return await _refuse(request, HttpError(HTTPStatus.NOT_FOUND, "NotFound", message, close=True))


def _path(request: Request) -> str:
    """As it was sent, with line breaks and the like still encoded."""
    return bytes(request.scope["raw_path"]).decode("ascii", "replace")


def _later(kind: str, message: str) -> HttpError:
    return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, kind, message, retryable=True)
