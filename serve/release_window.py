"""How many unclaimed manifests may lie in the bucket: one for slow requests, more while workers are fast.

| at a look | window |
|---|---|
| all that was released has been claimed, the last of it within a second | doubled, up to the longest |
| something released is unclaimed for more than a second | halved, down to one, once a second |

So where requests take seconds or minutes, a request of higher priority waits behind one released manifest, and a
function that answers in milliseconds is not slowed down by getting requests one by one.
"""

import time
from collections.abc import Callable, Set

PATIENCE_SECONDS = 1.0  # a manifest that is unclaimed for longer means that the workers are busy


class ReleaseWindow:
    """The window of one service; it remembers when each manifest was released."""

    def __init__(self, longest: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest, self._clock = longest, clock
        self.size = 1
        self._last = self._changed = float("-inf")
        self._released: dict[str, float] = {}

    def add(self, uuid: str) -> None:
        """Note that a manifest has just been released."""
        self._last = self._released[uuid] = self._clock()

    def room(self, unclaimed: Set[str]) -> int:
        """Return how many more may be released while these are unclaimed; call it at every look."""
        now = self._clock()
        self._released = {uuid: self._released.get(uuid, now) for uuid in unclaimed}
        if not unclaimed and now - self._last < PATIENCE_SECONDS:
            self.size = min(self._longest, self.size * 2)
        elif unclaimed and now - min(self._released.values()) > PATIENCE_SECONDS < now - self._changed:
            self.size, self._changed = max(1, self.size // 2), now
        return max(0, self.size - len(unclaimed))
