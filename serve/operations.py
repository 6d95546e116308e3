"""The SDK's calls as methods, apart from routes: each is checked, counted and answered."""

import contextlib
from urllib.parse import quote

from fastapi import Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from serve.attributes import describe_position, entry_attributes
from serve.auth import is_token_of
from serve.bodies import expected_bytes, read_body
from serve.budget import Budget
from serve.errors import RequestRefused
from serve.metrics import Metrics
from serve.paced_response import PacedResponse
from serve.parameters import BadParameter, Parameters, fits_header
from serve.polling import FoundEntries, GetRequest, Getter
from serve.put_groups import PutGroups
from serve.queue_index import ServiceQueue, Side
from serve.settings import ServeSettings
from serve.store import Put, Store
from serve.watching import Subscription, Watcher
from serve.wire import PROTOBUF, several

REQUEST_ID_HEADER = "X-Eas-Queueservice-Request-Id"
INDEX_HEADER = "X-Eas-Queueservice-Index"  # of this server only, on raw answers
SDK_WAIT_SECONDS = 5.0  # the SDK's default


class Operations:
    """All calls on a queue."""

    def __init__(
        self,
        store: Store,
        polling: Getter,
        watching: Watcher,
        metrics: Metrics,
        settings: ServeSettings,
        payload_bytes: int,
        budget: Budget,
    ) -> None:
        self._store, self._polling, self._watching = store, polling, watching
        self._metrics, self._settings, self._payload_bytes = metrics, settings, payload_bytes
        self._budget, self._puts = budget, PutGroups(store)

    def queue(self, request: HTTPConnection, service: str, side: Side) -> ServiceQueue:
        """Return the queue that a call is for. Raises RequestRefused with 401 or 404."""
        if not is_token_of(self._settings, service, request.headers.get("Authorization")):
            raise RequestRefused(401, f"no or wrong token for {service}; send it as the Authorization header")
        if service not in self._store.services:
            raise RequestRefused(404, f"there is no service {service}; there are {', '.join(self._store.services)}")
        return ServiceQueue(service, side)

    async def put(self, request: Request, queue: ServiceQueue) -> Response:
        """Accept the body; answer with its index as text and its request id as a header."""
        asked = Parameters(request.query_params, request.headers)
        tags, priority = asked.labels(), asked.priority()
        if queue.side == "source" and "requestId" in tags:
            raise BadParameter("the input queue sets the tag requestId itself; use another name")
        async with self._budget.hold(expected_bytes(request, self._payload_bytes)):
            body = await self._body(request)
            index, identity = await self._puts.add(Put(queue, body, tags, priority))
        self._metrics.count_put(str(queue))
        return PlainTextResponse(str(index), headers={REQUEST_ID_HEADER: header_value(identity)})

    async def read(self, request: Request, queue: ServiceQueue) -> Response:
        """Answer attributes, search or get, depending on the parameters."""
        asked = Parameters(request.query_params, request.headers)
        if asked.flag("_attrs_"):
            return JSONResponse(await run_in_threadpool(entry_attributes, self._store, queue, self._payload_bytes))
        if asked.flag("_search_"):
            return JSONResponse(await run_in_threadpool(self._search, queue, asked.number("_index_", 0)))
        wait = min(asked.seconds("_timeout_", SDK_WAIT_SECONDS), self._settings.longest_poll_seconds)
        wanted = GetRequest(
            first=asked.number("_index_", 0),
            length=asked.number("_length_", 1, least=1),
            wait_seconds=wait,
            tags=asked.tags(),
            take=asked.flag("_auto_delete_"),
        )
        raw = asked.flag("_raw_")
        found = await self._polling.get(queue, wanted, request)
        sent = BackgroundTask(self._remove_sent, queue, found) if found.taken else None
        return _raw(found, sent) if raw else _frame(found, sent)

    async def remove(self, request: Request, queue: ServiceQueue) -> Response:
        """Delete or truncate; answer with the number of entries removed."""
        asked = Parameters(request.query_params, request.headers)
        if asked.flag("_trunc_"):
            index = asked.number("_index_", 0)
            return await self._remove(queue, await run_in_threadpool(self._store.index.below, queue, index))
        return await self._remove_at(queue, asked)

    async def commit(self, request: Request, queue: ServiceQueue) -> Response:
        """Remove entries that their consumer is done with."""
        return await self._remove_at(queue, Parameters(request.query_params, request.headers))

    async def watch(self, socket: WebSocket, service: str, side: Side) -> None:
        """Stream entries; a refused watcher gets an HTTP status instead of its WebSocket."""
        try:
            subscription = self._subscription(socket, self.queue(socket, service, side))
            self._watching.admit(subscription)
        except (RequestRefused, BadParameter) as error:
            status, headers = (error.status, error.headers) if isinstance(error, RequestRefused) else (400, {})
            with contextlib.suppress(OSError):  # the client is gone
                await socket.send_denial_response(PlainTextResponse(str(error), status, headers))
            return
        await self._watching.serve(socket, subscription)

    def _subscription(self, socket: WebSocket, queue: ServiceQueue) -> Subscription:
        asked = Parameters(socket.query_params, socket.headers)
        group, user = asked.consumer()
        return Subscription(
            queue=queue,
            gid=group,
            uid=user,
            first=asked.number("_index_", 0),
            window=asked.number("_window_", 1, least=1),
            index_only=asked.flag("_index_only_"),
            auto_commit=asked.flag("_auto_commit_"),
            tags=asked.tags(),
        )

    def _search(self, queue: ServiceQueue, index: int) -> dict[str, object]:
        found = self._store.index.find(queue, index, 1, {})
        if not found or found[0].index != index:
            raise RequestRefused(404, f"{queue} has no entry {index}")
        return describe_position(self._store, queue, found[0])

    async def _remove_at(self, queue: ServiceQueue, asked: Parameters) -> Response:
        if not asked.has("_indexes_"):
            raise BadParameter("_indexes_ is missing: name the entries, separated by commas")
        indexes = asked.numbers("_indexes_")
        return await self._remove(queue, await run_in_threadpool(self._store.index.at, queue, indexes))

    async def _remove(self, queue: ServiceQueue, uuids: list[str]) -> Response:
        removed = await run_in_threadpool(self._store.remove, queue, uuids)
        self._metrics.count_consumed(str(queue), removed)
        return PlainTextResponse(str(removed))

    def _remove_sent(self, queue: ServiceQueue, found: FoundEntries) -> None:
        self._metrics.count_consumed(str(queue), self._polling.remove_sent(queue, found))

    async def _body(self, request: Request) -> bytes:
        """Read the body.

        Raises RequestRefused with 413 if it is too large, after reading so much that its sender reads the answer.
        """
        data, size = await read_body(request, self._payload_bytes)
        if size > self._payload_bytes:
            allowed = f"{self._payload_bytes} are allowed; put pictures into the bucket"
            raise RequestRefused(413, f"the data has {size} bytes or more, {allowed}")
        return data


def header_value(text: str) -> str:
    """Return text as a header's value; stored tags that do not fit into a header are escaped as in a URL."""
    return text if fits_header(text) else quote(text)


def _frame(found: FoundEntries, sent: BackgroundTask | None) -> Response:
    data = several(found.frames)
    found.frames.clear()
    return PacedResponse(data, PROTOBUF, found.hold, sent)


def _raw(found: FoundEntries, sent: BackgroundTask | None) -> Response:
    """Answer with the bytes of the first entry, or with 204 if there is none."""
    if not found.frames:
        return Response(status_code=204)
    first = found.frames[0]
    response = PacedResponse(first.data, "application/octet-stream", found.hold, sent)
    response.headers[INDEX_HEADER] = str(first.index)
    response.headers[REQUEST_ID_HEADER] = header_value(first.tags.get("requestId", ""))
    return response
