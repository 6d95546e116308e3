"""Keys that fail: each by itself, with a pause that grows, and an object that `photog status` shows.

    failing/<function>/<hash of the key>.json    {"key", "error", "tries", "since", "next_try"}

| state of a key | what happens | to |
|---|---|---|
| - | offering it fails | failing, next try after `FIRST_SECONDS` |
| failing | it fails again | failing, after twice as long as before, `LONGEST_SECONDS` at most |
| failing | it is settled, or gone | - |
| failing, and that worker died | the next one to start adopts it | failing, as if it were its own |

Times in the object are by the worker's wall clock, for people; the pauses themselves go by the monotonic one.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Set
from dataclasses import dataclass

from shared.buckets.base import Bucket, BucketError, MissingObject, ObjectTooLarge
from shared.contract import keys
from shared.contract.manifests import Json, decode, encode, shorten

log = logging.getLogger(__name__)

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 300.0
LARGEST = 64 * 1024  # bytes of such an object; ours have hundreds
LONGEST_ERROR = 500  # characters that an object tells of


@dataclass
class _Failure:
    tries: int
    since: float
    until: float


class Failures:
    """What fails of one function's keys that begin with `below`, as one worker sees it."""

    def __init__(self, bucket: Bucket, function: str, below: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket, self._function, self._below, self._clock = bucket, function, below, clock
        self._keys: dict[str, _Failure] = {}
        self._shown: set[str] = set()
        self._adopted = False

    def __len__(self) -> int:
        return len(self._keys)

    def rests(self, key: str) -> bool:
        """Whether the key has failed and is not to be tried yet."""
        failure = self._keys.get(key)
        return failure is not None and self._clock() < failure.until

    def pause(self, default: float) -> float:
        """Seconds until the first of them is to be tried, `default` at most."""
        return min([default, *(max(0.0, one.until - self._clock()) for one in self._keys.values())])

    def adopt(self) -> None:
        """Take over what workers before this one have shown, so that it goes when the keys no longer fail.

        Once; where the store fails, the next call tries again.
        """
        if self._adopted:
            return
        try:
            for info in self._bucket.list(keys.failing(self._function)):
                self._shown |= self._told(info.key)
        except (BucketError, OSError) as error:
            log.warning("what failed before is not known yet: %s", error)
        else:
            self._adopted = True

    def add(self, key: str, error: Exception) -> None:
        """The key has failed once more."""
        failure = self._keys.setdefault(key, _Failure(0, time.time(), 0.0))
        pause = min(FIRST_SECONDS * 2**failure.tries, LONGEST_SECONDS)
        failure.tries, failure.until = failure.tries + 1, self._clock() + pause
        shown = key.encode(errors="replace").decode()
        log.error(
            "%s failed %d times, next try in %.1f s: %s", shown, failure.tries, pause, error,
            exc_info=None if failure.tries > 1 or isinstance(error, BucketError | OSError) else error,
        )  # fmt: skip
        told = {
            "key": shown,
            "error": shorten(f"{type(error).__name__}: {error}", LONGEST_ERROR),
            "tries": failure.tries,
            "since": failure.since,
            "next_try": time.time() + pause,
        }
        self._write(key, told)

    def remove(self, key: str, shown: bool = False) -> None:
        """The key does not fail any more.

        Args:
            shown: whether another worker may have shown that it failed.
        """
        if self._keys.pop(key, None) is not None or shown or key in self._shown:
            self._shown.discard(key)
            self._write(key, None)

    def keep(self, present: Set[str]) -> None:
        """Only these keys can fail still."""
        for key in (self._keys.keys() | self._shown) - present:
            self.remove(key)

    def _told(self, place: str) -> set[str]:
        """The key of which such an object tells; none where it has gone or is not ours."""
        try:
            key = str(decode(self._bucket.get(place, LARGEST))["key"])
        except (MissingObject, ObjectTooLarge, ValueError, KeyError) as error:
            log.warning("%s tells of no key: %s", place, error)
            return set()
        return {key} if key.startswith(self._below) else set()

    def _write(self, key: str, told: Json | None) -> None:
        """Show it; a store that cannot even do that is said in the log already."""
        place = failure_key(self._function, key)
        try:
            if told is None:
                self._bucket.delete(place)
            else:
                self._bucket.put(place, encode(told))
        except (BucketError, OSError) as error:
            log.debug("%s is not written: %s", place, error)


def failure_key(function: str, key: str) -> str:
    """Where it is shown that a key fails."""
    return f"{keys.FAILING}{function}/{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:16]}.json"
