"""Between the workers and moto: an HTTP server that makes of each call what the weather says.

| fault | the store has done it | the worker sees |
|---|---|---|
| error, busy, denied | no | 500, 503, 403 |
| undecided | no | 409 on a conditional write |
| refused | yes | 412 on a conditional write, as when something between repeats it |
| lost | yes | a connection that closes without an answer |
| late | every other time | nothing for longer than it waits |
| cut | yes | half of the answer |
| delay | yes | the answer, late |
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.scenario.chaos.moto_store import Headers, MotoStore
from tests.scenario.chaos.weather import Weather

LATE_SECONDS = 1.6  # longer than the workers' read timeout
DELAY_SECONDS = 0.3
STATUS = {
    "error": (500, "InternalError"),
    "busy": (503, "SlowDown"),
    "denied": (403, "AccessDenied"),
    "undecided": (409, "ConditionalRequestConflict"),
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
POLL_SECONDS = 0.1  # of a queue whose caller waits for a message


class Proxy:
    """Listens on two ports of the loopback, in a thread; a context manager.

    Attributes:
        url: where the weather reigns, for the workers.
        fair: where every call is answered as moto does, for whoever looks on.
        written: told of each write through `url` that the store has done: method and path.
    """

    def __init__(self) -> None:
        self.weather = Weather(0, {})
        self.written: Callable[[str, str], None] = lambda method, path: None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.url = self.fair = ""

    def __enter__(self) -> "Proxy":
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        self._store, self._pool = MotoStore(), ThreadPoolExecutor(1)
        self.url, self.fair = self._listen(self._foul), self._listen(self._fair)
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    def _listen(self, exchange: "Exchange") -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while await exchange(await _Call.read(reader, writer), writer):
                    pass
            except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                pass  # the worker has gone, as frozen and killed ones do
            finally:
                writer.close()

        server = self._loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _ask(self, call: "_Call") -> bytes:
        """moto's answer; long polls wait here, not there."""
        wait, body = call.patience()
        until = self._loop.time() + wait
        while True:
            answer = await self._loop.run_in_executor(
                self._pool, self._store.ask, call.method, call.path, call.headers, body
            )
            if self._loop.time() >= until or b'"Messages"' in answer:
                return answer
            await asyncio.sleep(POLL_SECONDS)

    async def _fair(self, call: "_Call", writer: asyncio.StreamWriter) -> bool:
        writer.write(await self._ask(call))
        await writer.drain()
        return True

    async def _foul(self, call: "_Call", writer: asyncio.StreamWriter) -> bool:
        """One call; whether the connection goes on."""
        method, path = call.method, call.path
        fault = self.weather.fault(method, path, "if-none-match" in call.headers)
        if fault in STATUS:
            writer.write(_refusal(method, *STATUS[fault]))
            await writer.drain()
            return True
        if fault == "late" and self.weather.chance(method, path, "late") < 0.5:
            await asyncio.sleep(LATE_SECONDS)
            return False
        answer = await self._ask(call)
        if method in ("PUT", "DELETE") and answer.startswith(b"HTTP/1.1 20"):
            self.written(method, path)
        if fault == "refused":
            answer = _refusal(method, 412, "PreconditionFailed")
        if fault in ("lost", "late"):
            await asyncio.sleep(LATE_SECONDS if fault == "late" else 0)
            return False
        if fault == "delay":
            await asyncio.sleep(DELAY_SECONDS)
        writer.write(answer[: len(answer) * 2 // 3] if fault == "cut" else answer)
        await writer.drain()
        return fault != "cut"


@dataclass(frozen=True)
class _Call:
    """One request, read to its end."""

    method: str
    path: str
    headers: Headers
    body: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "_Call":
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = line.split(" ", 2)
        pairs = (one.partition(":") for one in fields)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if "100-continue" in headers.pop("expect", ""):
            writer.write(CONTINUE)
        if "chunked" in headers.get("transfer-encoding", ""):
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return cls(method, path, headers, body)

    def patience(self) -> tuple[float, bytes]:
        """How long the caller wants to wait for a message, and the call without that wish."""
        if not self.headers.get("x-amz-target", "").endswith("ReceiveMessage"):
            return 0.0, self.body
        asked = json.loads(self.body)
        wait = asked.pop("WaitTimeSeconds", 0)
        return float(wait), json.dumps(asked | {"WaitTimeSeconds": 0}).encode()


Exchange = Callable[[_Call, asyncio.StreamWriter], Awaitable[bool]]


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        length = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if length == 0:
            break
        body += (await reader.readexactly(length + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers, then an empty line
    return body


def _refusal(method: str, status: int, code: str) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>as the weather is</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + (b"" if method == "HEAD" else text)
