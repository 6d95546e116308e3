"""Pointers to the newest committed answer, such as a user's model, swapped by workers that may be frozen or killed.

    users/<user_id>/model.json                        the pointer: the content of the newest swap
    users/<user_id>/swaps/<committed>-<hash>.json     the same content, one for each answer that is being pointed to

| step | who may stop after it | what the next worker sees |
|---|---|---|
| the swap is created | anybody | the answer's progress still exists: whoever sees the answer repeats all steps |
| the pointer is written with the newest swap | a worker frozen before it, which writes an older one | its next step |
| the newest swap is read again, and the pointer written until it has that content | anybody | as above |
| older swaps are removed | anybody | they are older, so they mean nothing |

The newest is decided by the contents, never by the time of an object, which a copy or a restored backup changes. An
answer gets its moment before it is committed (`moment`): the store's time, but later than whatever its pointers show.
So a worker that could see another's swap comes after it, even if a clock was set back. Of two that could not see each
other, the later moment wins; of two with the same moment, the larger hash, for every observer alike.

Content that was made in view of what a pointer named before says so by its moment, in REPLACES. It is not pointed to if
another answer came in between: photos that a portrait keeps never take the place of a training that ended meanwhile.
"""

import hashlib
import logging
import re
from collections.abc import Iterable

from shared.buckets.base import Bucket, ObjectTooLarge
from shared.contract.manifests import Json, decode, encode

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000
LARGEST = 16 * 1024 * 1024  # bytes of a pointer; a user's model has a hundredth
LATEST = 9e9  # seconds since 1970, in the year 2255; until then a float resolves microseconds, and ours are earlier
REPLACES = "replaces"  # in content: the moment of what the pointer named when it was made, 0 for nothing; not stored
SWAP = re.compile(r"(\d{20})-[0-9a-f]{12}\.json")


class Pointers:
    """The pointers of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def moment(self, pointers: Iterable[str], now: float) -> float:
        """Return the moment at which an answer that is about to be committed counts as committed.

        That is now, or just after the moment of what its pointers already name.

        Args:
            now: by the store's clock, in seconds since 1970.
        """
        seen = [_microseconds(present) for key in pointers if (present := self._present(key)) is not None]
        seen += [_moment(swap) for key in pointers for swap in self._present_swaps(key)]
        return max(_microseconds(now), max(seen, default=0) + 1) / MICROSECONDS

    def swap(self, pointer: str, content: Json, name: str, committed: float) -> None:
        """Point to a committed answer, unless another one was committed later.

        Args:
            name: of the answer, such as its key; the same at each repetition.
            committed: its moment; the same at each repetition.
        """
        own = _swap_key(pointer, committed, name)
        replaces = is_plausible(content.get(REPLACES))
        if replaces is not None and self._came_between(pointer, replaces, committed):
            return
        told = {name: value for name, value in content.items() if name != REPLACES}
        self._bucket.put(own, encode(told | {"committed": committed}))
        present = self._present(pointer)
        if present is not None and present > committed:
            self._bucket.delete(own)
            return
        written = ""
        while (newest := max(self._present_swaps(pointer), default="")) != written:
            if (found := self._bucket.find(newest)) is None:
                continue  # another worker points to a newer one, and has removed this one
            self._bucket.put(pointer, found)
            written = newest
        for key in self._present_swaps(pointer):
            if key < written:
                self._bucket.delete(key)

    def _came_between(self, pointer: str, replaces: float, committed: float) -> bool:
        """Return whether an answer of another moment was pointed to after that of the moment `replaces`."""
        present = self._present(pointer)
        moments = {_moment(swap) for swap in self._present_swaps(pointer)} | {_microseconds(present or 0.0)}
        return any(moment > _microseconds(replaces) for moment in moments - {_microseconds(committed)})

    def _present_swaps(self, pointer: str) -> list[str]:
        """Return the keys of a pointer's swaps; the greatest is the newest."""
        folder = _swaps(pointer)
        keys = [info.key for info in self._bucket.list(folder)]
        swaps = [key for key in keys if SWAP.fullmatch(key.removeprefix(folder))]
        return [key for key in swaps if _moment(key) < _microseconds(LATEST)]

    def _present(self, pointer: str) -> float | None:
        """Return when the answer that the pointer names was committed; None if no pointer can be read."""
        try:
            text = self._bucket.find(pointer, LARGEST)
            if text is None:
                return None
            committed = is_plausible(decode(text).get("committed"))
        except (ValueError, ObjectTooLarge):
            committed = None
        if committed is None:
            log.warning("%s cannot be read and will be rewritten", pointer)
        return committed


def is_plausible(committed: object) -> float | None:
    """Return a moment that photog can have written; None for anything else."""
    known = isinstance(committed, int | float) and not isinstance(committed, bool) and 0 <= committed < LATEST
    return float(committed) if known else None  # type: ignore[arg-type]


def _swaps(pointer: str) -> str:
    return f"{pointer.rpartition('/')[0]}/swaps/"


def _swap_key(pointer: str, committed: float, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{_swaps(pointer)}{_microseconds(committed):020d}-{digest}.json"


def _moment(swap: str) -> int:
    """Return the moment in a swap's key, in microseconds."""
    return int(swap.rpartition("/")[2].partition("-")[0])


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
