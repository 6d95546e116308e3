"""What becomes of each call to the store: a function of the seed, the call, and how often it was made."""

import hashlib
import re
from collections import Counter

WRITES = {"PUT", "POST", "DELETE"}
CLAIM = re.compile(r"claims/[^/]+/([^/]+)/")


class Weather:
    """Faults by their share of the calls; none once `calm`.

    Attributes:
        readonly: writes to the bucket are refused.
        outage: every call fails.
        tally: how often each fault came.
        claims: by request, how many calls for its claims went wrong; each of those may have cost a heartbeat.
    """

    def __init__(self, seed: int, shares: dict[str, float]) -> None:
        self._seed, self._shares = seed, shares
        self._calls: Counter[str] = Counter()
        self.calm = self.readonly = self.outage = False
        self.tally: Counter[str] = Counter()
        self.claims: Counter[str] = Counter()

    def fault(self, method: str, path: str, conditional: bool) -> str | None:
        """The fault of this call, or None: error, busy, denied, lost, late, cut, delay, undecided, refused."""
        self._calls[f"{method} {path}"] += 1
        found = self._fault(method, path, conditional)
        if found is not None:
            self.tally[found] += 1
            if claim := CLAIM.search(path):
                self.claims[claim.group(1)] += 1
        return found

    @property
    def calls(self) -> int:
        """How many there were."""
        return self._calls.total()

    def chance(self, method: str, path: str, what: str) -> float:
        """A number in [0, 1) that belongs to this call and no other."""
        text = f"{self._seed} {what} {method} {path} {self._calls[f'{method} {path}']}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48

    def _fault(self, method: str, path: str, conditional: bool) -> str | None:
        if self.calm:
            return None
        if self.outage:
            return "busy" if self.chance(method, path, "outage") < 0.8 else "late"
        if self.readonly and method in WRITES and path.count("/") > 1:
            return "denied"
        drawn = self.chance(method, path, "fault")
        for kind, share in self._shares.items():
            if drawn < share:
                return kind if conditional or kind not in ("undecided", "refused") else None
            drawn -= share
        return None
