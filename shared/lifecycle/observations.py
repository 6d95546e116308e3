"""How long the claims of others have not changed, by our own clock and by what another worker saw before.

A worker that dies lets go of nothing: only somebody who has watched its claim for a while may say so. Whoever watches
in vain can pass on what it saw, as a token, and for how long; whoever meets the very same claim then goes on from there
and need not begin to watch. A token names one state of one claim: with the next beat it means nothing.
"""

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MOST_OBSERVED = 10_000  # claims watched at once; more only start their watch anew
MOST_MET = 100  # tokens that are passed on at once; a message speaks of ten objects at most
WIDTH = 16  # characters of a token: 64 bits


@dataclass(frozen=True)
class _Observation:
    token: str
    since: float


class Observations:
    """Claims of others, as one process sees them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, _Observation] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()
        self._met: deque[str] = deque(maxlen=MOST_MET)

    def unchanged(self, place: str, content: bytes) -> float:
        """Seconds for which the claim at a place has had this content, as far as is known: 0 at the first sight."""
        now, token = self._clock(), hashlib.sha256(f"{place}\0".encode() + content).hexdigest()[:WIDTH]
        seen = self._seen.get(place)
        if seen is None or seen.token != token:
            seen = self._seen[place] = _Observation(token, self._told.pop(token, now))
            _bound(self._seen)
        self._met.append(token)
        return now - seen.since

    def forget(self, place: str) -> None:
        """The claim there is nobody else's any more."""
        self._seen.pop(place, None)

    def met(self) -> list[str]:
        """Tokens of what was asked about since this was asked last."""
        tokens = list(dict.fromkeys(self._met))
        self._met.clear()
        return tokens

    def learn(self, tokens: Iterable[str], seconds: float) -> None:
        """Another worker has seen these so long ago."""
        for token in tokens:
            self._told[token] = self._clock() - seconds
            _bound(self._told)


def _bound(memory: "OrderedDict[str, _Observation] | OrderedDict[str, float]") -> None:
    while len(memory) > MOST_OBSERVED:
        memory.popitem(last=False)
