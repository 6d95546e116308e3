"""A response that is sent as fast as its client reads, so that only a small part is copied at a time."""

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve.budget import BudgetHold

PIECE = 256 * 1024  # bytes handed to the connection at a time, which waits while more than 64 KiB are unsent


class PacedResponse(Response):
    """A response that holds its share of the budget until the last piece has been handed to the connection."""

    def __init__(
        self, content: bytes, media_type: str, hold: BudgetHold | None, background: BackgroundTask | None = None
    ) -> None:
        super().__init__(content, media_type=media_type, background=background)
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(self.body), PIECE):
                piece = bytes(self.body[start : start + PIECE])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if self._hold is not None:
                self._hold.release()
        if self.background is not None:
            await self.background()
