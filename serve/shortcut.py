"""The application, with a shorter way for the call that a server gets most: a put, which needs none of FastAPI's.

A put with an `Origin` header, which a browser sends, takes the usual way past the CORS middleware.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from serve.operations import Operations
from serve.queue_index import Side

PUT = re.compile(r"/api/predict/([^/]+)(/sink)?")  # as in `routes.py`

Answer = Callable[[Request, Exception], Awaitable[Response]]


class Application(FastAPI):
    """FastAPI that answers puts by itself, once it is told with which calls."""

    _calls: Operations | None = None
    _varies = False

    def shorten(self, calls: Operations, varies: bool) -> None:
        """Answer puts with these calls from now on.

        Args:
            varies: whether answers depend on the origin, and say so.
        """
        self._calls, self._varies = calls, varies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        queue = _find_queue(scope)
        if self._calls is None or queue is None:
            await super().__call__(scope, receive, send)
            return
        response = await self._put(self._calls, Request(scope, receive), *queue)
        if self._varies:
            response.headers.add_vary_header("Origin")
        await response(scope, receive, send)

    async def _put(self, calls: Operations, request: Request, service: str, side: Side) -> Response:
        """Answer a put; errors are answered by the application's own handlers, as on the usual way."""
        try:
            return await calls.put(request, calls.queue(request, service, side))
        except Exception as error:
            answer = self._find_handler(error)
            if answer is None:
                raise
            return await answer(request, error)

    def _find_handler(self, error: Exception) -> Answer | None:
        handlers: dict[Any, Any] = self.exception_handlers
        return next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)


def _find_queue(scope: Scope) -> tuple[str, Side] | None:
    """Return the service and the side of its queue that a call puts into; None for any other call."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    found = PUT.fullmatch(scope["path"])
    if found is None or any(name == b"origin" for name, _ in scope["headers"]):
        return None
    return found[1], "sink" if found[2] else "source"
