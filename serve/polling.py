"""The call `get`: entries at once, or as soon as there are any."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from serve.answers import Answers
from serve.budget import Budget, BudgetHold
from serve.queue_index import Entry, ServiceQueue
from serve.store import Store
from serve.wire import Frame

EARLY = 0.1  # share of the timeout by which a poll ends early, because the SDK's socket gives up after the same 5 s
FEW = 100  # entries read from the index at once
LOOK_SECONDS = 1.0  # how often a waiting get checks that its client is still connected


@dataclass(frozen=True)
class GetRequest:
    """The parameters of a get."""

    first: int
    length: int
    wait_seconds: float
    tags: Mapping[str, str]
    take: bool


@dataclass
class FoundEntries:
    """Frames to send, and the uuids of entries that leave the queue once they are sent."""

    frames: list[Frame] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    hold: BudgetHold | None = None  # the memory that they take, until they are sent

    def free(self) -> None:
        """Give the memory back without sending the frames."""
        if self.hold is not None:
            self.hold.release()


class Getter:
    """Serves the gets of all queues."""

    def __init__(self, store: Store, answers: Answers, budget: Budget, reply_bytes: int, answer_bytes: int) -> None:
        self._store, self._answers, self._budget = store, answers, budget
        self._reply_bytes, self._answer_bytes = reply_bytes, answer_bytes
        self._ending = False

    async def get(self, queue: ServiceQueue, wanted: GetRequest, request: Request) -> FoundEntries:
        """Wait for entries and return them; nothing is taken for a client that has gone."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wanted.wait_seconds * (1 - EARLY)
        with self._store.change_signals[queue].listening() as changed:
            while True:
                changed.clear()
                found = await self._find(queue, wanted)
                if await self._is_gone(request, found):
                    await run_in_threadpool(self._store.put_back, queue, found.taken)
                    return FoundEntries()
                left = until - loop.time()
                if found.frames or left <= 0 or self._ending:
                    break
                try:
                    await asyncio.wait_for(changed.wait(), min(left, LOOK_SECONDS))
                except TimeoutError:
                    continue
        tag = wanted.tags.get("requestId")
        if not found.frames and tag is not None and queue.side == "sink" and wanted.wait_seconds > 0:
            running = await run_in_threadpool(self._answers.pending, queue.service, tag)
            found.frames = [running] if running is not None else []
        return found

    def end(self) -> None:
        """Answer all waiting gets with what there is, because the server is stopping."""
        self._ending = True
        for signal in self._store.change_signals.values():
            signal.ring()

    def remove_sent(self, queue: ServiceQueue, found: FoundEntries) -> int:
        """Remove the entries that a client has taken and received; return how many there were."""
        removed = self._store.remove(queue, found.taken)
        self._store.put_back(queue, found.taken)
        return removed

    async def _is_gone(self, request: Request, found: FoundEntries) -> bool:
        try:
            gone = await request.is_disconnected()
        except BaseException:
            found.free()
            raise
        if gone:
            found.free()
        return gone

    async def _find(self, queue: ServiceQueue, wanted: GetRequest) -> FoundEntries:
        """Return the entries at present, with the memory that they take; if there are none, nothing is read."""
        if not await run_in_threadpool(self._store.find, queue, wanted.first, 1, wanted.tags, False):
            return FoundEntries()
        hold = await self._budget.take(min(wanted.length * self._answer_bytes, self._reply_bytes + self._answer_bytes))
        try:
            found = await run_in_threadpool(self._look, queue, wanted)
        except BaseException:
            hold.release()
            raise
        hold.shrink(sum(len(frame.data) for frame in found.frames))
        found.hold = hold
        return found

    def _look(self, queue: ServiceQueue, wanted: GetRequest) -> FoundEntries:
        """Return as many of the entries as fit into a reply, at least one."""
        found, some, first = FoundEntries(), list[Entry](), wanted.first
        try:
            while len(found.frames) < wanted.length:
                few = min(FEW, wanted.length - len(found.frames))
                some = self._store.find(queue, first, few, wanted.tags, wanted.take)
                if not some or not self._add(queue, wanted, found, some):
                    break
                first = some[-1].index + 1
        except BaseException:  # the entries stay for the next call
            if wanted.take:
                self._store.put_back(queue, [*found.taken, *(one.uuid for one in some)])
            raise
        return found

    def _add(self, queue: ServiceQueue, wanted: GetRequest, found: FoundEntries, some: list[Entry]) -> bool:
        """Add entries with their bytes; return whether there is room for more."""
        size = sum(len(frame.data) for frame in found.frames)
        for number, one in enumerate(some):
            frame = self._frame(queue, one, wanted.take)
            if frame is None:
                continue
            size += len(frame.data)
            if found.frames and size > self._reply_bytes:
                if wanted.take:
                    self._store.put_back(queue, [left.uuid for left in some[number:]])
                return False
            found.frames.append(frame)
            found.taken += [one.uuid] if wanted.take else []
        return True

    def _frame(self, queue: ServiceQueue, one: Entry, taken: bool) -> Frame | None:
        """Return the entry with its bytes; an entry whose bytes are gone from the bucket leaves the queue."""
        frame = self._answers.frame(queue, one)
        if frame is None:
            self._store.remove(queue, [one.uuid])
            if taken:
                self._store.put_back(queue, [one.uuid])
        return frame
