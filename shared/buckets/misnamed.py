"""Keys that S3 takes and no object of ours has, as they lie in other people's buckets.

| key | what is done |
|---|---|
| `requests/check//r.json`, `/requests/check/r.json`, `requests/check/r.json/` | listed, read, removed: it is answered |
| `photos//a.jpg` | not read: whoever names it is told what to do |
| with a backslash, control characters, . or .. between / | not read, and said in the log once |
| of an empty object: a marker of a folder | passed over |
"""

import logging

from shared.buckets.base import usable
from shared.contract import keys

log = logging.getLogger(__name__)

MOST_TOLD = 1000  # keys that one bucket logs


def is_misnamed_manifest(key: str) -> bool:
    """Whether it would be the key of a manifest, were there not two / in a row, or one at an end."""
    plain = keys.without_empty_names(key)
    return plain != key and plain.startswith(keys.REQUESTS) and usable(plain)


class Misnamed:
    """Tells which keys of a bucket a list gives."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._told: set[str] = set()

    def is_listed(self, key: str, size: int) -> bool:
        """Whether the object is to be seen; says in the log what is not, and may be meant for us."""
        if usable(key):
            return True
        if not size:
            return False
        if is_misnamed_manifest(key):
            return True
        if key.startswith(keys.REQUESTS) and len(self._told) < MOST_TOLD and key not in self._told:
            self._told.add(key)
            log.warning("%a in %s is no key that an object can have; rename it, or nobody sees it", key, self._address)
        return False
