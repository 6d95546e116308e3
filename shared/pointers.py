"""Pointers to the newest committed answer, such as a user's model, swapped by workers that may be frozen or killed.

    users/<user_id>/model.json                        the pointer: what the newest swap says
    users/<user_id>/swaps/<committed>-<hash>.json     the same, one for each answer that is being pointed to

| step | who may stop here | what the next one sees |
|---|---|---|
| the swap is created | anybody | the answer's progress is there still: whoever sees the answer does all of this again |
| the pointer is written with the newest swap | one who was frozen before it, and writes an older one | its next step |
| the newest swap is asked for again, and the pointer written until it is that | anybody | as above |
| older swaps are removed | anybody | they are older: they mean nothing |

Newest is by the store's clock. Should that have been set back, a swap seems to come from the future: from then on it
would stand in every training's way, so whoever has just committed removes it.
"""

import hashlib
import logging
import math
from collections.abc import Callable

from shared.buckets.base import Bucket, MissingObject, ObjectTooLarge
from shared.manifests import Json, decode, encode

log = logging.getLogger(__name__)

CLOCK_SECONDS = 2.0  # stores tell whole seconds, and two answers may cross
MICROSECONDS = 1_000_000
LARGEST = 16 * 1024 * 1024  # bytes of a pointer; a user's model has a hundredth


class Pointers:
    """The pointers of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def swap(
        self, pointer: str, content: Json, name: str, committed: float, now: Callable[[], float] | None = None
    ) -> None:
        """Point to a committed answer, unless another one was committed later.

        Args:
            name: of the answer, such as its key; the same each time that this is done for it.
            committed: when it was, by the store's clock.
            now: tells that clock's time, as far as the caller knows; None where somebody else has committed. It is
                asked after what it is compared with was read: in between we may have been frozen.
        """
        own = _swap_key(pointer, committed, name)
        self._bucket.put(own, encode(content | {"committed": committed}))
        present = self._present(pointer)
        if now is not None:
            self._remove_future(pointer, now)
            present = None if present is not None and present > now() + CLOCK_SECONDS else present
        if present is not None and present > committed:
            self._bucket.delete(own)
            return
        written = ""
        while (newest := self._newest(pointer)) is not None and newest != written:
            try:
                self._bucket.put(pointer, self._bucket.get(newest))
            except MissingObject:
                continue  # somebody points to a newer one, and has removed it
            written = newest
        for info in list(self._bucket.list(_swaps(pointer))):
            if info.key < written:
                self._bucket.delete(info.key)

    def _remove_future(self, pointer: str, now: Callable[[], float]) -> None:
        present = list(self._bucket.list(_swaps(pointer)))
        latest = _swap_key(pointer, now() + CLOCK_SECONDS, "")
        for info in present:
            if info.key > latest:
                log.warning("%s was committed in the future, the store's clock has been set back", info.key)
                self._bucket.delete(info.key)

    def _newest(self, pointer: str) -> str | None:
        return max((info.key for info in self._bucket.list(_swaps(pointer))), default=None)

    def _present(self, pointer: str) -> float | None:
        """When the answer was committed that the pointer names; None without a pointer that can be read."""
        try:
            committed = float(decode(self._bucket.get(pointer, LARGEST))["committed"])
        except MissingObject:
            return None
        except (ValueError, KeyError, TypeError, OverflowError, ObjectTooLarge):
            log.warning("%s cannot be read and is written anew", pointer)
            return None
        return committed if math.isfinite(committed) else None


def _swaps(pointer: str) -> str:
    return f"{pointer.rpartition('/')[0]}/swaps/"


def _swap_key(pointer: str, committed: float, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12] if name else "~"
    return f"{_swaps(pointer)}{round(committed * MICROSECONDS):020d}-{digest}.json"
