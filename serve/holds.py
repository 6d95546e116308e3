"""Back-off for puts that failed: each waits longer and longer before it is tried again, and holds up no other."""

import time
from collections.abc import Callable

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 60.0


class BackoffHolds:
    """The waiting puts of one service, by uuid."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, float]] = {}

    def hold(self, uuid: str) -> bool:
        """Hold a put for twice as long as the last time; return whether this is its first failure."""
        now = self._clock()
        self._held = {one: held for one, held in self._held.items() if held[0] + LONGEST_SECONDS > now}
        first = uuid not in self._held
        pause = FIRST_SECONDS if first else min(LONGEST_SECONDS, 2 * self._held[uuid][1])
        self._held[uuid] = now + pause, pause
        return first

    def forget(self, uuid: str) -> None:
        """Forget the failures of a put."""
        self._held.pop(uuid, None)

    def now(self) -> set[str]:
        """Return the puts that must wait at present."""
        now = self._clock()
        return {uuid for uuid, (until, _) in self._held.items() if until > now}
