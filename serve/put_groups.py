"""Puts that come at the same time are written together: with the syncs of one, and in one turn of a thread.

| a put | from | to |
|---|---|---|
| waiting | it was read | no group is being written, or those that are take long: a slow disk syncs several at once |
| written | the same | all of its group are on the disk; then each is accepted, or told why not |

Nothing is accepted that would not survive the end of this process, and no put waits for others to come.
"""

import asyncio

from starlette.concurrency import run_in_threadpool

from serve.store import Put, Store

MOST = 64  # puts in a group
MOST_BYTES = 8 * 1024 * 1024  # of their bodies together, beyond the first
MOST_GROUPS = 4  # that are written at once
PATIENCE_SECONDS = 0.005  # for which a put waits for another group before its own is begun


class PutGroups:
    """Accepts puts for one store. Use it on the event loop's thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Put, asyncio.Future[tuple[int, str]]]] = []
        self._writing: set[asyncio.Task[None]] = set()

    async def add(self, put: Put) -> tuple[int, str]:
        """Return the put's index and request id once it is on the disk; raises why it was not accepted."""
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[tuple[int, str]] = loop.create_future()
        self._waiting.append((put, accepted))
        if self._writing:
            loop.call_later(PATIENCE_SECONDS, self._begin)
        else:
            self._begin()
        return await accepted

    def _begin(self) -> None:
        if self._waiting and len(self._writing) < MOST_GROUPS:
            task = asyncio.create_task(self._write())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self) -> None:
        while self._waiting:
            group = self._take()
            done: list[tuple[int, str] | Exception]
            try:
                done = await run_in_threadpool(self._store.put_all, [put for put, _ in group])
            except asyncio.CancelledError:
                for _, accepted in group:
                    accepted.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - raised to the caller of each; the next group goes on
                done = [error] * len(group)
            for (_, accepted), outcome in zip(group, done, strict=True):
                if accepted.done():
                    continue  # its call was given up; the put stays
                if isinstance(outcome, Exception):
                    accepted.set_exception(outcome)
                else:
                    accepted.set_result(outcome)

    def _take(self) -> list[tuple[Put, asyncio.Future[tuple[int, str]]]]:
        number, size = 0, 0
        for put, _ in self._waiting[:MOST]:
            size += len(put.body)
            if number and size > MOST_BYTES:
                break
            number += 1
        group, self._waiting = self._waiting[:number], self._waiting[number:]
        return group
