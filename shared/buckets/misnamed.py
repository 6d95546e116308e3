"""Keys that S3 accepts but photog does not use, as other people's buckets may contain them.

| key | what is done |
|---|---|
| `requests/check//r.json`, `requests/check/r.json/` | listed, read, removed: it is answered |
| `/requests/check/r.json`, `Requests/check/r.json`, `requests\\check\\r.json` | reported: `find_misspelled` yields it |
| below `requests/` with a backslash, control characters, . or .. between / | reported: `find_unlisted` yields it |
| `photos//a.jpg` | not read: a request that names it is told what to do |
| an empty object, as a folder marker | ignored |
"""

import re
from collections.abc import Iterator

from shared.buckets.base import Bucket, is_usable_key
from shared.contract import keys

MOST_KEPT = 200  # keys that one bucket remembers
SEPARATORS = re.compile(r"[/\\]")
AROUND = "".join(map(chr, range(0x21))) + "\x7f\xa0\u200b\ufeff"  # around names: scripts leave it there unseen
NO_KEY = "no object of photog's can have its key, with . or .. between /, a backslash or control characters"


def is_misnamed_manifest(key: str) -> bool:
    """Return whether it would be the key of a manifest if it had no // and no / at an end."""
    plain = keys.without_empty_names(key)
    return plain != key and plain.startswith(keys.REQUESTS) and is_usable_key(plain)


def names(key: str) -> list[str]:
    """Return the names in a key, however they are separated, without empty and dot names."""
    found = (name.strip(AROUND) for name in SEPARATORS.split(key))
    return [name for name in found if name not in ("", ".", "..")]


def is_misspelled(key: str, root: str) -> bool:
    """Return whether a key begins with another spelling of `root`, a name followed by /."""
    found = names(key)
    return bool(found) and not key.startswith(root) and f"{found[0].casefold()}/" == root


def find_misspelled(bucket: Bucket, root: str) -> Iterator[str]:
    """Yield keys that begin with another spelling of `root`, in a bucket whose keys are all usable."""
    for name in list(bucket.folders("")):
        if is_misspelled(f"{name}/", root):
            yield from (info.key for info in bucket.list(f"{name}/") if info.size)


class Misnamed:
    """Decides which keys of a bucket are listed, and remembers keys below `requests/` that are not.

    Attributes:
        kept: keys that may be meant as requests but cannot be answered.
    """

    def __init__(self) -> None:
        self.kept: set[str] = set()

    def is_listed(self, key: str, size: int) -> bool:
        """Return whether the object is listed."""
        if is_usable_key(key):
            return True
        if not size:
            return False
        if is_misnamed_manifest(key):
            return True
        if key.startswith(keys.REQUESTS) and len(self.kept) < MOST_KEPT:
            self.kept.add(key)
        return False
