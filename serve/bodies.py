"""The bodies of calls: read within a limit, and within the memory that all calls together may take."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from serve.budget import Budget
from shared.errors import RequestError

DRAINED = 4  # a body that is too large is read up to this many times the limit, so that its sender reads the answer
SMALL_BODY = 64 * 1024  # bytes; the connection buffers as much anyway, so such a body does not wait for the budget


class BodyReader:
    """Reads bodies."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    @asynccontextmanager
    async def read(self, request: Request, limit: int, too_large: type[RequestError]) -> AsyncIterator[bytes]:
        """Give the body, whose memory is held until the end of the context; raises `too_large`."""
        async with self._budget.hold(expected_bytes(request, limit)):
            data, size = await read_body(request, limit)
            if size > limit:
                raise too_large(f"the body has {size} bytes or more, {limit} are allowed")
            yield data


def expected_bytes(request: Request, limit: int) -> int:
    """Return how many bytes of memory a body needs: its Content-Length, or the limit if it has none."""
    length = request.headers.get("Content-Length", "")
    size = min(int(length), limit) if length.isdecimal() and len(length) < 20 else limit
    return size if size > SMALL_BODY else 0


async def read_body(request: Request, limit: int) -> tuple[bytes, int]:
    """Return the body and its size; of one that is too large nothing, and the size up to which it was read."""
    pieces, size = list[bytes](), 0  # joined once, so that it is in memory twice only briefly
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        elif size > DRAINED * limit:
            break
    return (b"" if size > limit else b"".join(pieces)), size
