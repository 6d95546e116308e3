"""The settled manifests: a set of short hashes, and an object that spares a new worker from examining all of them.

    index/<function>    a line, then 8 bytes of a hash of key and etag for each settled manifest

The object may be lost, outdated or malformed: then more manifests are examined, and none is answered differently. It
identifies nobody: the hashes cannot be reversed, and an etag is not personal data.
"""

import hashlib
import logging

from shared.buckets.base import Bucket, BucketError, ObjectInfo
from shared.contract import keys

log = logging.getLogger(__name__)

HEAD = b"photog settled 1\n"
WIDTH = 8  # bytes: among a hundred thousand manifests a new one is mistaken for a settled one once in 10^14
LARGEST = 256 * 1024 * 1024  # bytes, thirty million manifests
WORTH = 1000  # settled manifests from which an index saves more than it costs


class SettledIndex:
    """The settled manifests of one function."""

    def __init__(self, bucket: Bucket, function: str) -> None:
        self._bucket, self._key = bucket, index_key(function)
        self._marks: set[bytes] = set()
        self._present: set[bytes] = set()
        self._recent: set[bytes] = set()  # added since the last `begin_listing`
        self._unsaved = 0

    def __contains__(self, info: ObjectInfo) -> bool:
        return mark(info) in self._marks

    def has(self, marked: bytes) -> bool:
        """Return whether the manifest with this mark is settled; any thread may ask."""
        return marked in self._marks

    def add(self, info: ObjectInfo) -> None:
        """Record that the manifest needs no second look unless it changes."""
        marked = mark(info)
        self._marks.add(marked)
        self._recent.add(marked)
        self._unsaved += 1

    def begin_listing(self) -> None:
        """Say that a listing begins, which `keep` is told of; what is settled from now on may be newer than it."""
        self._recent = set()

    def keep(self, present: set[bytes]) -> None:
        """Forget all manifests but those with these marks, as the others are gone or changed.

        What was added since the listing began stays too.
        """
        self._present = present
        self._marks &= present | self._recent

    def load(self) -> None:
        """Load what an earlier worker has saved."""
        self._marks |= self._load_saved()

    def save(self, least: int = 1) -> None:
        """Save the index for the next worker if it has at least `least` new entries; others' entries are kept."""
        if self._unsaved < least or len(self._marks) < WORTH:
            return
        try:
            self._bucket.put(self._key, HEAD + b"".join(sorted(self._marks | (self._load_saved() & self._present))))
            self._unsaved = 0
        except (BucketError, OSError) as error:
            log.warning("%s could not be written, so the next start takes longer: %s", self._key, error)

    def _load_saved(self) -> set[bytes]:
        try:
            data = self._bucket.find(self._key, LARGEST)
        except (BucketError, OSError) as error:
            log.warning("%s could not be read, so the start takes longer: %s", self._key, error)
            return set()
        if data is None:
            return set()
        if not data.startswith(HEAD) or (len(data) - len(HEAD)) % WIDTH:
            log.warning("%s is not an index of photog's and is ignored", self._key)
            return set()
        return {data[start : start + WIDTH] for start in range(len(HEAD), len(data), WIDTH)}


def index_key(function: str) -> str:
    """Return the key of the index, which may be deleted at any time."""
    return f"{keys.INDEX}{function}"


def mark(info: ObjectInfo) -> bytes:
    """Return the short hash by which a manifest is remembered: another one once it has changed."""
    return hashlib.blake2b(f"{info.key}\0{info.etag}".encode(errors="replace"), digest_size=WIDTH).digest()
