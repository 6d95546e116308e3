"""The ASGI application: the SDK's calls, the REST interface, /healthz, /metrics and their documentation at /docs."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from serve.answers import Answers
from serve.auth import is_any_token
from serve.bodies import BodyReader
from serve.budget import Budget
from serve.database import Database, StateUnavailable
from serve.dispatcher import Dispatcher
from serve.errors import RequestRefused
from serve.metrics import Metrics
from serve.operations import Operations
from serve.page import documentation
from serve.parameters import BadParameter
from serve.polling import Getter
from serve.recovery import Recovery
from serve.rest import Rest, add_rest
from serve.routes import add_routes
from serve.settings import ServeSettings
from serve.shortcut import Application
from serve.store import QueueFull, Store
from serve.watching import Watcher
from shared.buckets.base import Bucket, BucketError
from shared.contract.manifests import CONTRACT
from shared.settings import Settings

log = logging.getLogger(__name__)

NOTHING_FOREIGN = "default-src 'none'; style-src 'unsafe-inline'"  # for /docs, which loads nothing else

# HTTP status and headers by error; a temporary refusal says when to try again
STATUS: dict[type[Exception], tuple[int, dict[str, str]]] = {
    BadParameter: (400, {}),
    QueueFull: (429, {"Retry-After": "10"}),
    BucketError: (503, {"Retry-After": "5"}),
    StateUnavailable: (503, {"Retry-After": "1"}),
    sqlite3.Error: (503, {"Retry-After": "5"}),
    OSError: (503, {"Retry-After": "5"}),
    ClientDisconnect: (499, {}),  # the client is gone and reads no answer
}


def build_application(bucket: Bucket, database: Database, settings: Settings, serve: ServeSettings) -> FastAPI:
    """Build the server of one bucket; its dispatchers run as long as the application does."""
    store = Store(bucket, database, serve.services, serve.longest_queue)
    database.fill_with(Recovery(store).run)
    metrics, answers = Metrics(store), Answers(store, settings.limits)
    # two budgets, so that clients that read slowly do not delay puts
    coming, going = (Budget(serve.bytes_at_once, serve.turn_seconds) for _ in range(2))
    longest = settings.limits.answer_bytes
    polling = Getter(store, answers, going, serve.reply_bytes, longest)
    watching = Watcher(store, answers, going, longest, serve.watchers)
    calls = Operations(store, polling, watching, metrics, serve, settings.limits.manifest_bytes, coming)
    dispatchers = [
        Dispatcher(store, service, metrics, settings.lease, serve.longest_lead, serve.poll_seconds)
        for service in serve.services
    ]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(database.ensure)
        store.deliveries.begin()
        for dispatcher in dispatchers:
            dispatcher.start()
        waiting = asyncio.create_task(_give_up(store, serve.reconnect_seconds))
        log.info("serving %s: %s", bucket.address, ", ".join(serve.services))
        yield
        waiting.cancel()
        for dispatcher in dispatchers:
            await run_in_threadpool(dispatcher.stop)
        database.close()

    app = Application(
        title="photog serve",
        version=CONTRACT,
        description="Requests and answers as plain JSON (/v1), and the queue protocol of `eas_prediction.QueueClient` "
        "(/api/predict), over a bucket.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages fetch their scripts from other hosts
        redoc_url=None,
    )
    rest = Rest(bucket, settings, serve, BodyReader(coming))
    add_rest(app, rest)
    add_routes(app, calls)
    app.shorten(calls, varies=bool(serve.cors_origins))
    _add_own(app, metrics, store, serve)
    for kind, (status, headers) in STATUS.items():
        app.add_exception_handler(kind, _answering(status, headers))
    app.add_exception_handler(RequestRefused, _answer_refusal)
    if serve.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=serve.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Location", "Retry-After"],
        )

    def stop() -> None:
        polling.end()
        rest.end()

    app.state.stopping = stop
    return app


def _add_own(app: FastAPI, metrics: Metrics, store: Store, serve: ServeSettings) -> None:
    @app.get("/healthz", summary="Whether the server and its state work; with a token, what it holds", tags=["server"])
    async def healthz(request: Request) -> JSONResponse:
        services = await run_in_threadpool(
            lambda: {service: {state: n for state, (n, _) in store.index.states(service).items()}
                     for service in store.services}
        )  # fmt: skip
        if not is_any_token(serve, request.headers.get("Authorization")):
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "ok", "bucket": store.bucket.address, "services": services})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation(app.openapi()), headers={"Content-Security-Policy": NOTHING_FOREIGN})

    @app.get("/metrics", summary="For Prometheus", tags=["server"])
    async def exposition() -> Response:
        return Response(await run_in_threadpool(metrics.exposition), media_type=CONTENT_TYPE_LATEST)


async def _give_up(store: Store, seconds: float) -> None:
    """Release what consumers held before the start, if they have not come back after `seconds`."""
    await asyncio.sleep(seconds)
    await run_in_threadpool(store.deliveries.give_up)
    for signal in store.change_signals.values():
        signal.ring()


def _answering(status: int, headers: dict[str, str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        if status == 503:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return PlainTextResponse(str(error), status, headers)

    return answer


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    return PlainTextResponse(error.message, error.status, error.headers)
