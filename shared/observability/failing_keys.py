"""Failing keys: each has its own growing pause, and an object that `photog status` shows.

    failing/<function>/<hash of the key>.json    {"key", "error", "tries", "since", "next_try"}

| state of a key | what happens | to |
|---|---|---|
| - | offering it fails | failing, next try after `FIRST_SECONDS` |
| failing | it fails again | failing, next try after twice the pause, at most `LONGEST_SECONDS` |
| failing | it is settled, or gone | - |
| failing, and that worker died | the next worker to start adopts it | failing, as if it were its own |

Times in the object are by the worker's wall clock, for people; the pauses themselves use the monotonic clock.
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
LARGEST = 64 * 1024  # bytes of such an object; real ones have a few hundred
LONGEST_ERROR = 500  # characters of the error in such an object


@dataclass
class _Failure:
    tries: int
    since: float
    until: float


class Failures:
    """The failing keys of one function that begin with `below`, as one worker sees them."""

    def __init__(self, bucket: Bucket, function: str, below: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket, self._function, self._below, self._clock = bucket, function, below, clock
        self._keys: dict[str, _Failure] = {}
        self._shown: set[str] = set()
        self._adopted = False

    def __len__(self) -> int:
        return len(self._keys)

    def rests(self, key: str) -> bool:
        """Return whether the key has failed and is not due for another try."""
        failure = self._keys.get(key)
        return failure is not None and self._clock() < failure.until

    def pause(self, default: float) -> float:
        """Return the seconds until the first of them is due, at most `default`."""
        return min([default, *(max(0.0, one.until - self._clock()) for one in self._keys.values())])

    def adopt(self) -> None:
        """Adopt the records of earlier workers, so that they are removed when the keys no longer fail.

        Done once; if the store fails, the next call tries again.
        """
        if self._adopted:
            return
        try:
            for info in self._bucket.list(keys.failing(self._function)):
                self._shown |= self._read_key(info.key)
        except (BucketError, OSError) as error:
            log.warning("the records of failing keys cannot be read yet: %s", error)
        else:
            self._adopted = True

    def add(self, key: str, error: Exception) -> None:
        """Record another failure of the key."""
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
        """Record that the key no longer fails.

        Args:
            shown: whether another worker may have recorded that it failed.
        """
        if self._keys.pop(key, None) is not None or shown or key in self._shown:
            self._shown.discard(key)
            self._write(key, None)

    def keep(self, present: Set[str]) -> None:
        """Forget all keys but these, as only these can still fail."""
        for key in (self._keys.keys() | self._shown) - present:
            self.remove(key)

    def _read_key(self, place: str) -> set[str]:
        """Return the key in such a record; empty if the record is gone or not photog's."""
        try:
            key = str(decode(self._bucket.get(place, LARGEST))["key"])
        except (MissingObject, ObjectTooLarge, ValueError, KeyError) as error:
            log.warning("%s is not a record of a failing key: %s", place, error)
            return set()
        return {key} if key.startswith(self._below) else set()

    def _write(self, key: str, told: Json | None) -> None:
        """Write or delete a key's record; a store failure is already in the log."""
        place = failure_key(self._function, key)
        try:
            if told is None:
                self._bucket.delete(place)
            else:
                self._bucket.put(place, encode(told))
        except (BucketError, OSError) as error:
            log.debug("%s is not written: %s", place, error)


def failure_key(function: str, key: str) -> str:
    """Return the key of the record of a failing key."""
    return f"{keys.FAILING}{function}/{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:16]}.json"
