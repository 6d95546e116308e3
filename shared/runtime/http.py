"""An HTTP entry for platforms that push events: one request per call, one call at a time.

| call | answer |
|---|---|
| `POST /invoke`, a storage event | 200 `{"outcomes": {key: outcome}}`; the answers are in the bucket |
| `POST /initialize` | 200 once the function and its models are loaded; `/invoke` loads them too if needed |
| `GET /healthz` | 200 `{"state": "starting" | "ready" | "busy"}`, 503 while `"stopping"` |

Any other answer is `{"error": {"type", "message", "retryable"}}`: 4xx for calls that can never be served, 503 for calls
that may succeed later. If there is a token, a call by POST without it is answered with 401.

This is the contract of Function Compute's custom containers (port 9000, paths, `x-fc-*`), where `x-fc-status` says that
an invocation failed and is retried. MinIO's webhooks and CloudEvents over HTTP fit too.
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
from shared.runtime.tokens import is_same_token

log = logging.getLogger(__name__)

LARGEST_EVENT = 1 << 20  # bytes; stores send at most 256 KiB
IDLE_CONNECTION = 900  # seconds; Function Compute requires kept-alive connections to last 15 minutes
ANSWER_SECONDS = 1  # for the last answer to go out after the work is done
UNSETTLED = {outcome.value for outcome in Outcome if not outcome.settled}


class HttpError(PhotogError):
    """An answer other than 200.

    Args:
        retryable: whether the very same call may succeed later.
        close: whether to close the connection, because unread bytes of the body would look like the next call.
    """

    def __init__(
        self, status: HTTPStatus, kind: str, message: str, retryable: bool = False, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.close = status, close
        self.body: Json = {"error": {"type": kind, "message": message, "retryable": retryable}}


class InvocationService:
    """Serves the calls for one function, from any thread."""

    def __init__(self, context: Context, function: str, shutdown: Shutdown) -> None:
        self._context, self._function, self._shutdown = context, function, shutdown
        self._working, self._loaded = threading.Lock(), False
        self.broken: FunctionUnavailable | ConfigurationError | None = None

    def state(self) -> str:
        """Return `starting`, `ready`, `busy` or `stopping`."""
        if self._shutdown.requested.is_set():
            return "stopping"
        if self._working.locked():
            return "busy" if self._loaded else "starting"
        return "ready" if self._loaded else "starting"

    def initialize(self) -> Json:
        """Load the function and its models."""
        with self._working, self._stop_if_unavailable():
            self._load()
        return {"state": "ready"}

    def invoke(self, event: Json) -> Json:
        """Serve an event to its end; raises HttpError if it must be sent again or can never be served."""
        if self._shutdown.requested.is_set():
            raise _retry_later("Stopping", "this instance is shutting down")
        if not self._working.acquire(blocking=False):
            raise _retry_later("Busy", "this instance is serving another request")
        try:
            with self._stop_if_unavailable():
                self._load()
                answer = self._context.handle(self._function, event)
        except (UnknownEvent, InvalidKey) as error:
            raise HttpError(HTTPStatus.BAD_REQUEST, type(error).__name__, str(error)) from error
        except (BucketError, OSError) as error:
            raise _retry_later(type(error).__name__, str(error)) from error
        finally:
            self._working.release()
        waiting = [key for key, outcome in answer["outcomes"].items() if outcome in UNSETTLED]
        if waiting:
            raise _retry_later("Unsettled", f"not answered yet: {', '.join(waiting)}")
        return answer

    def drain(self, seconds: float) -> bool:
        """Wait for the running call, and return whether it has ended; after a shutdown request no call begins."""
        ended = self._working.acquire(timeout=seconds)
        if ended:
            self._working.release()
        return ended

    def _load(self) -> None:
        self._context.invocation(self._function)
        self._context.await_loaded()
        self._loaded = True

    @contextmanager
    def _stop_if_unavailable(self) -> Iterator[None]:
        """End this instance too if the function cannot be loaded: the platform starts another."""
        try:
            yield
        except (FunctionUnavailable, ConfigurationError) as error:
            self.broken = error
            self._shutdown.request()
            raise _retry_later(type(error).__name__, str(error)) from error


class HttpEntry:
    """The server: listens from the start, so that a platform sees it while models load; SIGTERM drains."""

    def __init__(
        self,
        service: InvocationService,
        shutdown: Shutdown,
        drain_seconds: float,
        address: tuple[str, int],
        token: str | None = None,
    ) -> None:
        self._service, self._shutdown, self._drain_seconds = service, shutdown, drain_seconds
        self._socket = socket.create_server(address)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                build_application(service, token),
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
        # off the main thread, uvicorn ignores signals; on it, SIGTERM would close the port and `/healthz` at once
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second signal hands the running request back."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.start()
        self._shutdown.requested.wait()
        self.stop()

    def start(self) -> None:
        """Start serving in a background thread."""
        self._thread.start()
        log.info("listening on port %d", self.port)

    def stop(self) -> None:
        """Let the running call end and its answer go out, then close."""
        if not self._service.drain(self._drain_seconds + 5):
            log.error("the running request did not end in time; another worker takes it over")
        self._server.should_exit = True
        self._thread.join()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        log.info("got %s", signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())


def build_application(service: InvocationService, token: str | None = None) -> Starlette:
    """Return the HTTP application for a service.

    Args:
        token: what a POST must send as `Authorization`; None or empty lets everybody call.
    """

    async def healthz(request: Request) -> Response:
        state = service.state()
        status = HTTPStatus.SERVICE_UNAVAILABLE if state == "stopping" else HTTPStatus.OK
        return _answer(request, status, {"state": state})

    async def initialize(request: Request) -> Response:
        _require_token(request, token)
        await _read_body(request)
        return await _serve(request, service.initialize)

    async def invoke(request: Request) -> Response:
        _require_token(request, token)
        text = await _read_body(request)
        return await _serve(request, lambda: service.invoke(_parse_event(text, request.headers)))

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
    """uvicorn's protocol with its keep-alive limit also before the first call and within a call's head."""

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


def _require_token(request: Request, token: str | None) -> None:
    """Refuse a call that does not send the token; its body is not read."""
    if token and not is_same_token(token, request.headers.get("Authorization")):
        message = "the call has no valid token; send PHOTOG_TOKEN's as the Authorization header"
        raise HttpError(HTTPStatus.UNAUTHORIZED, "Unauthorized", message, close=True)


async def _read_body(request: Request) -> bytes:
    """Return the body; the connection is closed if it is not read to its end."""
    length = request.headers.get("content-length")
    if length is None or "transfer-encoding" in request.headers:  # it would take precedence over the length
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "NoLength", "a call needs a Content-Length header", close=True)
    if int(length) > LARGEST_EVENT:
        limit = f"the event has {length} bytes, {LARGEST_EVENT} are allowed"
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "EventTooLarge", limit, close=True)
    try:
        async with asyncio.timeout(IDLE_CONNECTION):
            return await request.body()
    except (TimeoutError, ClientDisconnect) as error:
        raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "HalfBody", "the body is incomplete", True, close=True) from error


def _parse_event(text: bytes, headers: Headers) -> Json:
    """Return the event in a body.

    A CloudEvent in binary mode has its attributes in `ce-` headers and only its data in the body.
    """
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "NotJson", f"the body is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise HttpError(HTTPStatus.BAD_REQUEST, "UnknownEvent", "the body is not a JSON object")
    if "ce-specversion" not in headers:
        return event
    return {name[3:]: value for name, value in headers.items() if name.startswith("ce-")} | {"data": event}


async def _serve(request: Request, call: Callable[[], Json]) -> Response:
    try:
        return _answer(request, HTTPStatus.OK, await _run_in_thread(call))
    except HttpError:
        raise
    except Exception as error:  # the boundary: a caller without an answer cannot know that it may try again
        log.exception("%s failed", _path(request))
        message = f"{type(error).__name__}: {error}; the log has the traceback"
        failure = HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message, retryable=True)
        return _answer(request, failure.status, failure.body)


async def _run_in_thread(call: Callable[[], Json]) -> Json:
    """Call in a daemon thread, unlike starlette's pool: a call that does not end must not keep the process alive."""
    ended: concurrent.futures.Future[Json] = concurrent.futures.Future()
    ended.set_running_or_notify_cancel()

    def run() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting caller
            ended.set_exception(error)

    threading.Thread(target=run, name="call", daemon=True).start()
    return await asyncio.wrap_future(ended)


def _answer(request: Request, status: HTTPStatus, body: Json, close: bool = False) -> Response:
    headers = {"x-fc-status": "200" if status == HTTPStatus.OK else "404"} if request.method == "POST" else {}
    # in ASCII, unlike starlette's JSONResponse: a key may hold half a surrogate pair, which UTF-8 cannot encode
    return Response(json.dumps(body), status, headers | ({"connection": "close"} if close else {}), "application/json")


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    log.warning("%s %s: %s", _path(request), request.headers.get("x-fc-request-id", "-"), error)
    return _answer(request, error.status, error.body, error.close)


async def _refuse_path(request: Request, error: Exception) -> Response:
    """Answer a call of an unknown path, or with the wrong method."""
    message = f"there is no {request.method} {_path(request)}; use /invoke, /initialize or /healthz"
    return await _refuse(request, HttpError(HTTPStatus.NOT_FOUND, "NotFound", message, close=True))


def _path(request: Request) -> str:
    """Return the path as it was sent, with line breaks and the like still encoded."""
    return bytes(request.scope["raw_path"]).decode("ascii", "replace")


def _retry_later(kind: str, message: str) -> HttpError:
    return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, kind, message, retryable=True)
