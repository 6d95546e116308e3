"""The routes of the calls, `/api/predict/<service>` and `/api/predict/<service>/sink`, documented for OpenAPI."""

from fastapi import FastAPI, Request, Response, WebSocket

from serve.operations import Operations
from serve.queue_index import Side

PATHS: dict[Side, str] = {"source": "/api/predict/{service}", "sink": "/api/predict/{service}/sink"}
NAMES: dict[Side, str] = {"source": "input queue", "sink": "sink"}
READ = {
    "_index_": "get: the first index; search: the index",
    "_length_": "get: how many entries at most, 1 by default",
    "_timeout_": "get: how long to wait for one, such as 5s or 1m; 0 does not wait",
    "_auto_delete_": "get: true takes the entries out of the queue",
    "_raw_": "get: true answers with the bytes of one entry instead of a DataFrameListProto",
    "requestId": "get: the request id of a put; like every other parameter, a tag that the entries must have",
    "_attrs_": "true: the queue's attributes instead",
    "_search_": "true: instead, where the entry with this index stands",
}
PUT = {"_priority_": "0 by default, higher ones are started first; or the header X-EAS-QueueService-Priority"}
REMOVE = {"_indexes_": "delete: indexes, separated by commas", "_trunc_": "true: all below _index_", "_index_": ""}
COMMIT = {"_indexes_": "indexes, separated by commas"}
RESPONSES: dict[int | str, dict[str, object]] = {
    401: {"description": "no or wrong token"},
    404: {"description": "no such service or entry"},
}


def add_routes(app: FastAPI, calls: Operations) -> None:
    """Add the routes of both queues of every service."""
    for side in PATHS:
        _add(app, calls, side)


def _add(app: FastAPI, calls: Operations, side: Side) -> None:
    path, tags = PATHS[side], [NAMES[side]]

    async def put(service: str, request: Request) -> Response:
        return await calls.put(request, calls.queue(request, service, side))

    async def read(service: str, request: Request) -> Response:
        return await calls.read(request, calls.queue(request, service, side))

    async def remove(service: str, request: Request) -> Response:
        return await calls.remove(request, calls.queue(request, service, side))

    async def commit(service: str, request: Request) -> Response:
        return await calls.commit(request, calls.queue(request, service, side))

    async def watch(socket: WebSocket, service: str) -> None:
        await calls.watch(socket, service, side)

    described = (
        (put, "POST", "put: the body becomes an entry", PUT),
        (read, "GET", "get, attributes or search", READ),
        (remove, "DELETE", "delete or truncate", REMOVE),
        (commit, "PUT", "commit: consumed entries leave the queue", COMMIT),
    )
    for call, method, summary, parameters in described:
        app.add_api_route(
            path,
            call,
            methods=[method],
            summary=summary,
            tags=list(tags),
            operation_id=f"{side}_{call.__name__}",
            responses=dict(RESPONSES),
            openapi_extra=_document(parameters, method == "POST"),
        )
    app.add_api_websocket_route(path, watch)


def _document(parameters: dict[str, str], body: bool) -> dict[str, object]:
    """Return the parameters for OpenAPI; FastAPI does not read them, because every unknown parameter is a tag."""
    listed: list[dict[str, object]] = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in parameters.items()
        if name
    ]
    token = {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}}
    extra: dict[str, object] = {"parameters": [*listed, token]}
    if body:
        binary = {"schema": {"type": "string", "format": "binary"}}
        extra["requestBody"] = {"required": True, "content": {"application/octet-stream": binary}}
    return extra
