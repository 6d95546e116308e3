"""A limit on the bytes of bodies and answers in memory at once; calls that need more wait for their turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve.errors import RequestRefused

RETRY_SECONDS = 5


class BudgetHold:
    """Bytes taken from a budget; the hold shrinks once the real size is known."""

    def __init__(self, budget: "Budget", size: int) -> None:
        self._budget, self.size = budget, size

    def shrink(self, size: int) -> None:
        """Give back all but `size` bytes."""
        left = min(size, self.size)
        self._budget._give_back(self.size - left)
        self.size = left

    def release(self) -> None:
        """Give back all bytes; a second call does nothing."""
        self.shrink(0)


class Budget:
    """The bytes that all calls share, granted in the order of the calls. Use it on the event loop's thread only."""

    def __init__(self, total: int, wait_seconds: float) -> None:
        self._total, self._wait = total, wait_seconds
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> BudgetHold:
        """Wait for `size` bytes, at most the whole budget; 0 bytes are granted at once.

        Raises RequestRefused with 503 after the waiting time.
        """
        size = min(size, self._total)
        if size == 0 or (not self._waiting and self._used + size <= self._total):
            self._used += size
            return BudgetHold(self, size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._wait)
        except BaseException as error:  # also where the caller is canceled
            if turn.done():
                self._give_back(size)
            else:
                turn.cancel()
                self._grant()
            if isinstance(error, TimeoutError):
                raise RequestRefused(503, "too many bytes are in transit at once; try again", RETRY_SECONDS) from error
            raise
        return BudgetHold(self, size)

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[BudgetHold]:
        """Take `size` bytes until the end of the block."""
        held = await self.take(size)
        try:
            yield held
        finally:
            held.release()

    def _give_back(self, size: int) -> None:
        self._used -= size
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if turn.done():  # its caller has given up
                self._waiting.popleft()
                continue
            if self._used + size > self._total:
                return
            self._waiting.popleft()
            self._used += size
            turn.set_result(None)
