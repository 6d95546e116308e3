"""Keys that S3 takes and no object of ours has, as they lie in other people's buckets.

| key | what is done |
|---|---|
| `requests/check//r.json`, `requests/check/r.json/` | listed, read, removed: it is answered |
| `/requests/check/r.json`, `Requests/check/r.json`, `requests\\check\\r.json` | told: `misspelled` gives it |
| below `requests/` with a backslash, control characters, . or .. between / | told: `passed_over` gives it |
| `photos//a.jpg` | not read: whoever names it is told what to do |
| of an empty object: a marker of a folder | passed over |
"""

import re
from collections.abc import Iterator

from shared.buckets.base import Bucket, is_usable_key
from shared.contract import keys

MOST_KEPT = 200  # keys that one bucket keeps in mind
SEPARATORS = re.compile(r"[/\\]")
AROUND = "".join(map(chr, range(0x21))) + "\x7f\xa0\u200b\ufeff"  # a name, where scripts leave more than they see
NO_KEY = "no object of ours can have its key, with . or .. between /, a backslash or control characters"


def is_misnamed_manifest(key: str) -> bool:
    """Whether it would be the key of a manifest, were there not two / in a row, or one at an end."""
    plain = keys.without_empty_names(key)
    return plain != key and plain.startswith(keys.REQUESTS) and is_usable_key(plain)


def names(key: str) -> list[str]:
    """The names in a key, however they are separated, without those that name nothing."""
    found = (name.strip(AROUND) for name in SEPARATORS.split(key))
    return [name for name in found if name not in ("", ".", "..")]


def is_misspelled(key: str, root: str) -> bool:
    """Whether a key begins with another spelling of `root`, a name with / behind it."""
    found = names(key)
    return bool(found) and not key.startswith(root) and f"{found[0].casefold()}/" == root


def misspelled(bucket: Bucket, root: str) -> Iterator[str]:
    """Objects of a bucket whose keys are all usable, and begin with another spelling of `root`."""
    for name in list(bucket.folders("")):
        if is_misspelled(f"{name}/", root):
            yield from (info.key for info in bucket.list(f"{name}/") if info.size)


class Misnamed:
    """Tells which keys of a bucket a list gives, and keeps those of requests in mind that it does not.

    Attributes:
        kept: keys that may be meant for us, and nobody can be answered under them.
    """

    def __init__(self) -> None:
        self.kept: set[str] = set()

    def is_listed(self, key: str, size: int) -> bool:
        """Whether the object is to be seen."""
        if is_usable_key(key):
            return True
        if not size:
            return False
        if is_misnamed_manifest(key):
            return True
        if key.startswith(keys.REQUESTS) and len(self.kept) < MOST_KEPT:
            self.kept.add(key)
        return False
