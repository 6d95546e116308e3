"""`watch`: entries over a WebSocket as they come, at most a window of them uncommitted."""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from serve.answers import Answers
from serve.ledger import Entry, Queue
from serve.store import Store
from serve.wire import Frame, one

log = logging.getLogger(__name__)

SUPERSEDED = 4001  # close code of our own: the same consumer watches on another connection


@dataclass(frozen=True)
class Subscription:
    """What a watcher asks for, and who it is."""

    queue: Queue
    gid: str
    uid: str
    first: int
    window: int
    index_only: bool
    auto_commit: bool
    tags: Mapping[str, str]


class Watching:
    """Serves the watchers of all queues; one connection per consumer, a newer one takes over."""

    def __init__(self, store: Store, answers: Answers) -> None:
        self._store, self._answers = store, answers
        self._open: dict[tuple[Queue, str, str], asyncio.Task[None]] = {}

    async def serve(self, socket: WebSocket, asked: Subscription) -> None:
        """Until the connection ends; what was not committed then is for others."""
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
        finally:  # whole, also when the server is stopping or the client's going cancels this very task
            await asyncio.shield(self._end(asked, session, sending, listening))
        if sending.cancelled() and listening.cancelled():
            await socket.close(SUPERSEDED, "the same consumer watches on another connection")

    async def _end(
        self, asked: Subscription, session: str, sending: asyncio.Task[None], listening: asyncio.Task[None]
    ) -> None:
        """Give back what was not committed, and wake those who may have it now."""
        for task in (sending, listening):
            task.cancel()
        failed = await asyncio.gather(sending, listening, return_exceptions=True)
        consumer = (asked.queue, asked.gid, asked.uid)
        if self._open.get(consumer) is sending:
            del self._open[consumer]
        await run_in_threadpool(self._store.deliveries.disconnect, session)
        self._store.bells[asked.queue].ring()
        _report(asked, failed)

    async def _send(self, socket: WebSocket, asked: Subscription, session: str) -> None:
        with self._store.bells[asked.queue].listening() as changed:
            while True:
                changed.clear()
                frame = await run_in_threadpool(self._next, asked, session)
                if frame is None:
                    await changed.wait()
                    continue
                entry, shown = frame
                await socket.send_bytes(one(shown))
                if asked.auto_commit:  # sent is committed, also when the client goes in this moment
                    await asyncio.shield(run_in_threadpool(self._store.remove, asked.queue, [entry.uuid]))

    def _next(self, asked: Subscription, session: str) -> tuple[Entry, Frame] | None:
        """The next entry that is still there, pending from now on."""
        while True:
            entry = self._store.deliveries.hand_out(
                asked.queue, asked.gid, asked.uid, session, asked.first, asked.tags,
                self._store.taken(asked.queue.service),
            )  # fmt: skip
            if entry is None:
                return None
            if asked.index_only:
                return entry, Frame(entry.index, entry.tags)
            frame = self._answers.frame(asked.queue, entry)
            if frame is not None:
                return entry, frame
            self._store.remove(asked.queue, [entry.uuid])


async def _until_closed(socket: WebSocket) -> None:
    """Read what the client may say, which means nothing here, until it goes."""
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        return


def _report(asked: Subscription, failed: Iterable[BaseException | None]) -> None:
    for error in failed:
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            log.warning("watching %s by %s.%s ended: %s", asked.queue, asked.gid, asked.uid, error)
