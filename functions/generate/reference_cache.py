"""A cache of judged reference photos: the same people come again, with other templates.

| from | event | to |
|---|---|---|
| absent | a usable photo is judged for a request | kept, with that request's answer as its source |
| kept | another request has the same bytes | kept, with that answer as a further source; beyond SOURCES judged anew |
| kept | an answer among its sources is gone, as after `photog forget` | removed by `evict` |
| kept | a request comes that has the id of one of its sources | removed by `drop` |
| kept | not used for a while, or more than PHOTOS photos or BYTES | removed |

A photo is recognized by the SHA-256 of its file, so whoever has the file could have it judged again. Only usable photos
are kept, as close-ups.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.models.expiring_cache import Clock, ExpiringCache
from shared.photos.person_photos import JudgedPhoto

PHOTOS = 200  # of ten people or more
BYTES = 256 * 2**20  # of their close-ups, which have 3 MB at most
SOURCES = 16  # answers that are looked up for each photo between requests


@dataclass(frozen=True, eq=False)
class _Entry:
    judged: JudgedPhoto
    sources: set[str] = field(default_factory=set)


class ReferenceCache:
    """Judged photos by their content.

    Args:
        photos: number of photos to keep.
        bytes_kept: limit of the size of all their close-ups together.
        clock: replaced in tests.
    """

    def __init__(self, photos: int = PHOTOS, bytes_kept: int = BYTES, clock: Clock = time.monotonic) -> None:
        self._entries: ExpiringCache[bytes, _Entry] = ExpiringCache(photos, clock=clock)
        self._bytes_kept = bytes_kept

    def judge(self, data: bytes, source: str, judge: Callable[[bytes], JudgedPhoto]) -> JudgedPhoto:
        """Return the verdict on a photo, from the cache if it is there.

        Args:
            data: the file's bytes.
            source: key of the answer that is being made; once it is gone, the photo is dropped.
            judge: judges a photo that is not in the cache.
        """
        digest = hashlib.sha256(data).digest()
        entry: _Entry | None = self._entries.get(digest)
        if entry is None or len(entry.sources | {source}) > SOURCES:
            entry = _Entry(judge(data))
            if entry.judged.close_up is None:
                return entry.judged
            self._entries[digest] = entry
            self._limit_memory()
        entry.sources.add(source)
        return entry.judged

    def drop(self, source: str) -> None:
        """Drop the photos that came with an earlier answer of this key: its request was forgotten, so the id is free.

        Called at the start of each request. `evict` would not see it, since there is an answer again.
        """
        for digest in [digest for digest, entry in self._entries.items() if source in entry.sources]:
            self._entries.pop(digest, None)

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop the photos that have not been used for a while, and those that came with a request that is gone.

        Args:
            exists: whether the bucket has an object with this key; what it raises is not caught.
        """
        self._entries.expire()
        sources = {source for entry in self._entries.values() for source in entry.sources}
        gone = {source for source in sources if not exists(source)}
        for digest in [digest for digest, entry in self._entries.items() if entry.sources & gone]:
            self._entries.pop(digest, None)

    def _limit_memory(self) -> None:
        while len(self._entries) > 1 and sum(map(_size, self._entries.values())) > self._bytes_kept:
            self._entries.popitem()


def _size(entry: _Entry) -> int:
    return entry.judged.close_up[0].nbytes if entry.judged.close_up else 0
