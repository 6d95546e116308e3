"""How long others' claims have been unchanged, by our own clock and by what another worker saw before.

A worker that dies cannot release its claim: only somebody who has watched the claim for a while may call it dead. A
worker that watched in vain can pass on a token of what it saw, and how long ago; a worker that finds the very same
claim continues from there instead of starting to watch. A token stands for one state of one claim: after the next beat
it is void.
"""

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MOST_OBSERVED = 10_000  # claims watched at once; beyond that, the oldest are watched from the start again
MOST_MET = 100  # tokens passed on at once; a message names ten objects at most
WIDTH = 16  # characters of a token: 64 bits


@dataclass(frozen=True)
class _Observation:
    token: str
    since: float


class Observations:
    """Others' claims, as one process sees them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, _Observation] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()
        self._met: deque[str] = deque(maxlen=MOST_MET)

    def seconds_unchanged(self, place: str, content: bytes) -> float:
        """Return for how many seconds the claim at a place is known to have had this content: 0 at first sight."""
        now, token = self._clock(), hashlib.sha256(f"{place}\0".encode() + content).hexdigest()[:WIDTH]
        seen = self._seen.get(place)
        if seen is None or seen.token != token:
            seen = self._seen[place] = _Observation(token, self._told.pop(token, now))
            _bound(self._seen)
        self._met.append(token)
        return now - seen.since

    def knows(self, place: str) -> bool:
        """Return whether another worker's claim was seen at a place."""
        return place in self._seen

    def forget(self, place: str) -> None:
        """Forget a place whose claim is no longer another worker's."""
        self._seen.pop(place, None)

    def take_tokens(self) -> list[str]:
        """Return the tokens of the claims asked about since the last call."""
        tokens = list(dict.fromkeys(self._met))
        self._met.clear()
        return tokens

    def learn(self, tokens: Iterable[str], seconds: float) -> None:
        """Record that another worker saw the claims with these tokens `seconds` ago."""
        for token in tokens:
            self._told[token] = self._clock() - seconds
            _bound(self._told)


def _bound(memory: "OrderedDict[str, _Observation] | OrderedDict[str, float]") -> None:
    while len(memory) > MOST_OBSERVED:
        memory.popitem(last=False)
