"""The call `watch`: entries over a WebSocket as they come, with at most a window of them uncommitted."""

import asyncio
import contextlib
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from serve.answers import Answers
from serve.budget import RETRY_SECONDS, Budget, BudgetHold
from serve.database import StateUnavailable
from serve.deliveries import UnknownSession
from serve.errors import RequestRefused
from serve.queue_index import Entry, ServiceQueue
from serve.store import Store
from serve.wire import Frame, one
from shared.buckets.base import BucketError

log = logging.getLogger(__name__)

TRY_AGAIN = 1012  # the close code of a service that restarts; clients reconnect
SUPERSEDED = 4001  # a close code of this server
REASONS = {
    TRY_AGAIN: "the server cannot continue this connection; watch again",
    SUPERSEDED: "the same consumer watches on another connection",
}


@dataclass(frozen=True)
class Subscription:
    """Who a watcher is and what it asks for."""

    queue: ServiceQueue
    gid: str
    uid: str
    first: int
    window: int
    index_only: bool
    auto_commit: bool
    tags: Mapping[str, str]


class Watcher:
    """Serves the watchers of all queues; each consumer has one connection, and a newer one takes over."""

    def __init__(self, store: Store, answers: Answers, budget: Budget, answer_bytes: int, watchers: int) -> None:
        self._store, self._answers, self._budget = store, answers, budget
        self._answer_bytes, self._watchers = answer_bytes, watchers
        self._connections = 0
        self._open: dict[tuple[ServiceQueue, str, str], asyncio.Task[None]] = {}

    def admit(self, asked: Subscription) -> None:
        """Raise RequestRefused with 503 if there are too many watchers and this one takes over from none of them."""
        if self._connections >= self._watchers and (asked.queue, asked.gid, asked.uid) not in self._open:
            raise RequestRefused(
                503, f"{self._watchers} watchers are connected, and no more are allowed", RETRY_SECONDS
            )

    async def serve(self, socket: WebSocket, asked: Subscription) -> None:
        """Serve a watcher until its connection ends; what it has not committed then goes to others."""
        self._connections += 1
        try:
            await self._serve(socket, asked)
        except (WebSocketDisconnect, OSError):  # it disconnected before it was accepted
            log.debug("a watcher of %s disconnected", asked.queue)
        except (BucketError, StateUnavailable, sqlite3.Error) as error:
            log.error("watching %s ended: %s", asked.queue, error)
            await _close(socket, TRY_AGAIN)
        finally:
            self._connections -= 1

    async def _serve(self, socket: WebSocket, asked: Subscription) -> None:
        consumer, session = (asked.queue, asked.gid, asked.uid), secrets.token_hex(8)
        older = self._open.pop(consumer, None)
        if older is not None:
            older.cancel()
        await socket.accept()
        deliveries = self._store.deliveries
        await run_in_threadpool(
            deliveries.connect, asked.queue, asked.gid, asked.uid, session, asked.window, asked.auto_commit
        )
        sending = asyncio.create_task(self._send(socket, asked, session))
        self._open[consumer] = sending
        listening = asyncio.create_task(_until_closed(socket))
        try:
            await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:  # in full, also when the server's stop or the client's disconnecting cancels this task
            await asyncio.shield(self._end(asked, session, sending, listening))
        if sending.cancelled() and listening.cancelled():
            await _close(socket, SUPERSEDED)
        elif not sending.cancelled() and sending.exception() is not None:
            await _close(socket, TRY_AGAIN)

    async def _end(
        self, asked: Subscription, session: str, sending: asyncio.Task[None], listening: asyncio.Task[None]
    ) -> None:
        """Give back what was not committed, and wake the watchers that may get it now."""
        for task in (sending, listening):
            task.cancel()
        failed = await asyncio.gather(sending, listening, return_exceptions=True)
        consumer = (asked.queue, asked.gid, asked.uid)
        if self._open.get(consumer) is sending:
            del self._open[consumer]
        await run_in_threadpool(self._store.deliveries.disconnect, session)
        self._store.change_signals[asked.queue].ring()
        _report(asked, failed)

    async def _send(self, socket: WebSocket, asked: Subscription, session: str) -> None:
        with self._store.change_signals[asked.queue].listening() as changed:
            while True:
                changed.clear()
                entry = await run_in_threadpool(self._next, asked, session)
                if entry is None:
                    await changed.wait()
                    continue
                async with self._memory(asked) as hold:
                    frame = await run_in_threadpool(self._frame, asked, entry)
                    if frame is None:
                        continue
                    hold.shrink(len(frame.data))
                    await socket.send_bytes(one(frame))
                if asked.auto_commit:  # what was sent is committed, even if the client disconnects now
                    await asyncio.shield(run_in_threadpool(self._store.remove, asked.queue, [entry.uuid]))

    def _next(self, asked: Subscription, session: str) -> Entry | None:
        """Return the next entry, pending from now on."""
        return self._store.deliveries.hand_out(
            asked.queue,
            asked.gid,
            asked.uid,
            session,
            asked.first,
            asked.tags,
            self._store.list_taken(asked.queue.service),
        )

    def _frame(self, asked: Subscription, entry: Entry) -> Frame | None:
        """Return the entry with its bytes; an entry whose bytes are gone from the bucket leaves the queue."""
        if asked.index_only:
            return Frame(entry.index, entry.tags)
        frame = self._answers.frame(asked.queue, entry)
        if frame is None:
            self._store.remove(asked.queue, [entry.uuid])
        return frame

    @asynccontextmanager
    async def _memory(self, asked: Subscription) -> AsyncIterator[BudgetHold]:
        """Hold memory for an answer until it is sent; a watcher waits for it as long as necessary."""
        while True:
            try:
                hold = await self._budget.take(0 if asked.index_only else self._answer_bytes)
            except RequestRefused:
                continue
            try:
                yield hold
            finally:
                hold.release()
            return


async def _close(socket: WebSocket, code: int) -> None:
    with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect):  # the client is gone
        await socket.close(code, REASONS[code])


async def _until_closed(socket: WebSocket) -> None:
    """Read and ignore what the client sends, until it disconnects."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue


def _report(asked: Subscription, failed: Iterable[BaseException | None]) -> None:
    for error in failed:
        if isinstance(error, UnknownSession):
            log.info("a watcher of %s must connect again: %s", asked.queue, error)
        elif isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            log.warning("watching %s by %r.%r ended: %s", asked.queue, asked.gid, asked.uid, error)
