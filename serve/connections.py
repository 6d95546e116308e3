"""Limits on connections: how many, how slow, how large a head. uvicorn itself has none of these limits.

| a connection | allowed | otherwise |
|---|---|---|
| is open and has not sent a whole head | `head_seconds` | closed |
| has sent more than HEAD_BYTES but no whole head | | 431, closed |
| sends a body that the server is reading | `body_seconds` in all, `SLOWEST` on average over each PERIOD | closed |
| does not read what the server sends | `body_seconds` in all for one answer or frame, `SLOWEST` as above | closed |
| is one more than `connections` | | the one whose head has been awaited longest is closed; 503 if none is awaited |
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = logging.getLogger(__name__)

HEAD_BYTES = 256 * 1024  # of an incomplete head; the tags of a put, in its URL, have at most 32 KiB
PERIOD = 10.0  # seconds over which the speed is measured
SLOWEST = 1024  # bytes per second; the slowest network lines carry some thousands
LINGER_SECONDS = 10.0  # for sending the rest of an answer after a connection has ended
QUIET_SECONDS = 10.0  # between two log lines about too many connections

TOO_LARGE = "431 Request Header Fields Too Large", "the head of the request is too large"
TOO_MANY = "503 Service Unavailable", "too many connections; try again"


@dataclass
class Bounds:
    """The limits for all connections of one server, and the connections that have not sent a whole head."""

    connections: int
    head_seconds: float
    body_seconds: float
    period: float = PERIOD
    waiting: dict["HttpConnection", None] = field(default_factory=dict)
    told: float = float("-inf")


class _Writing:
    """Watches one transport's unsent bytes and aborts the transport when they do not decrease fast enough."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        self._loop, self._period, self._longest = loop, bounds.period, bounds.body_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None

    def begin(self) -> None:
        """Start another answer or frame; its time begins when the client is first too slow for it."""
        self._since = None

    def watch(self, transport: asyncio.Transport) -> None:
        """Begin to watch: too many bytes are unsent."""
        self.stop()
        now = self._loop.time()
        self._since = self._since or now
        if now - self._since > self._longest:
            transport.abort()
            return
        left = transport.get_write_buffer_size()
        self._timer = self._loop.call_later(self._period, self._check, transport, left)

    def stop(self) -> None:
        """Stop watching: the bytes were sent, or the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _check(self, transport: asyncio.Transport, before: int) -> None:
        if before - transport.get_write_buffer_size() < SLOWEST * self._period:
            transport.abort()
        else:
            self.watch(transport)


class HttpConnection(HttpToolsProtocol):
    """uvicorn's HTTP connection with these limits."""

    def __init__(self, *arguments: Any, bounds: Bounds, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._bounds = bounds
        self._writing = _Writing(self.loop, bounds)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._received = 0  # bytes since the head or the period began
        self._body_seconds = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections and not self._make_room():
            self._refuse(*TOO_MANY)
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._writing.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        super().data_received(data)
        if self._in_head and self._received > HEAD_BYTES:
            self._refuse(*TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._body_seconds = 0.0
        self._writing.begin()
        self._await_body()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_waiting()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        self._writing.stop()
        super().handle_websocket_upgrade()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing.watch(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writing.stop()

    def _await_head(self) -> None:
        self._in_head, self._received = True, 0
        self._bounds.waiting[self] = None
        self._timer = self.loop.call_later(self._bounds.head_seconds, self.transport.abort)

    def _await_body(self) -> None:
        self._received = 0
        self._timer = self.loop.call_later(self._bounds.period, self._check_body)

    def _check_body(self) -> None:
        """Abort a body that is too slow or takes too long; time in which the server does not read is not counted."""
        if not self.flow.read_paused:
            self._body_seconds += self._bounds.period
            slow = self._received < SLOWEST * self._bounds.period
            if slow or self._body_seconds >= self._bounds.body_seconds:
                self.transport.abort()
                return
        self._await_body()

    def _stop_waiting(self) -> None:
        self._in_head = False
        self._bounds.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _make_room(self) -> bool:
        """Abort the connection whose head has been awaited longest; return whether there was one."""
        bounds, now = self._bounds, self.loop.time()
        if now - bounds.told > QUIET_SECONDS:
            log.warning("more than %d connections; those that have sent no request are closed", bounds.connections)
            bounds.told = now
        for oldest in bounds.waiting:
            oldest._stop_waiting()
            oldest.transport.abort()
            return True
        return False

    def _refuse(self, status: str, reason: str) -> None:
        self._stop_waiting()
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}\r\nconnection: close\r\n"
        )
        self.transport.write(f"{head}retry-after: 5\r\n\r\n{reason}".encode("ascii"))
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


class WatchConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with these limits; a frame counts as sent when its client has read almost all of it."""

    def __init__(self, *arguments: Any, bounds: Bounds, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._writing = _Writing(self.loop, bounds)
        # its lines would contain the query, with the watcher's tags
        self.logger = logging.getLogger(f"{__name__}.watch")
        self.logger.setLevel(logging.WARNING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writing.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing.watch(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writing.stop()

    async def send(self, message: Any) -> None:
        self._writing.begin()
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # it was refused; otherwise uvicorn would log a missing handshake
        await self.writable.wait()
