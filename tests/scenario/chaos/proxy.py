"""Between the workers and moto: an HTTP proxy that makes of each call what the weather says.

| fault | the store has done it | the worker sees |
|---|---|---|
| error, busy, denied | no | 500, 503, 403 |
| undecided, refused | no | 409, 412 on a conditional write |
| lost | yes | a connection that closes without an answer |
| late | every other time | nothing for longer than it waits |
| cut | yes | half of the answer |
| delay | yes | the answer, late |
"""

import asyncio
import threading
from collections.abc import Callable

from tests.scenario.chaos.weather import Weather

LATE_SECONDS = 1.6  # longer than the workers' read timeout
DELAY_SECONDS = 0.3
STATUS = {
    "error": (500, "InternalError"),
    "busy": (503, "SlowDown"),
    "denied": (403, "AccessDenied"),
    "undecided": (409, "ConditionalRequestConflict"),
    "refused": (412, "PreconditionFailed"),
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Headers = dict[str, str]


class Proxy:
    """Listens on a free port of the loopback, in a thread; a context manager.

    Args:
        written: told of each write that the store has done: method, path, the answer's etag.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.weather = Weather(0, {})
        self.written: Callable[[str, str], None] = lambda method, path: None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.url = ""

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._run, name="proxy", daemon=True).start()
        self._ready.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = _Upstream(self._upstream)
        try:
            while await self._exchange(reader, writer, upstream):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the worker has gone, as frozen and killed ones do
        finally:
            upstream.close()
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: "_Upstream"
    ) -> bool:
        """One call; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, headers = _parsed(head)
        method, path, _ = line.split(" ", 2)
        if "100-continue" in headers.get("expect", ""):
            writer.write(CONTINUE)
            head = b"\r\n".join(one for one in head.split(b"\r\n") if not one.lower().startswith(b"expect:"))
        body = await _body(reader, headers)
        fault = self.weather.fault(method, path, "if-none-match" in headers)
        if fault in STATUS:
            writer.write(_refusal(method, *STATUS[fault]))
            await writer.drain()
            return True
        if fault == "late" and self.weather.chance(method, path, "late") < 0.5:
            await asyncio.sleep(LATE_SECONDS)
            return False
        answer = await upstream.ask(method, head + body)
        if method in ("PUT", "DELETE") and answer.startswith((b"HTTP/1.1 20",)):
            self.written(method, path)
        return await self._pass_on(writer, method, fault, answer)

    async def _pass_on(self, writer: asyncio.StreamWriter, method: str, fault: str | None, answer: bytes) -> bool:
        if fault in ("lost", "late"):
            await asyncio.sleep(LATE_SECONDS if fault == "late" else 0)
            return False
        if fault == "delay":
            await asyncio.sleep(DELAY_SECONDS)
        writer.write(answer[: len(answer) * 2 // 3] if fault == "cut" else answer)
        await writer.drain()
        return fault != "cut"


class _Upstream:
    """One kept connection to moto, opened anew where it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, request: bytes) -> bytes:
        """The whole answer, as it came."""
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._open
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        line, headers = _parsed(head)
        if method == "HEAD" or line.split(" ")[1] in ("204", "304"):
            body = b""
        elif "content-length" in headers or "chunked" in headers.get("transfer-encoding", ""):
            body = await _body(reader, headers)
        else:
            body = await reader.read()
            self.close()
        if headers.get("connection", "").lower() == "close":
            self.close()
        return head + body

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _parsed(head: bytes) -> tuple[str, Headers]:
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (one.partition(":") for one in fields)
    return line, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """What follows the head, as it stands on the wire."""
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", 0)))
    raw = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        length = int(size.split(b";")[0], 16)
        raw += size
        if length == 0:
            break
        raw += await reader.readexactly(length + 2)
    while True:  # trailers, then an empty line
        line = await reader.readuntil(b"\r\n")
        raw += line
        if line == b"\r\n":
            return raw


def _refusal(method: str, status: int, code: str) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>as the weather is</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + (b"" if method == "HEAD" else text)
