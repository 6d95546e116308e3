"""A bucket as the fetcher of pictures sees it: bytes and size by key, and nothing for a name that cannot be a key."""

from shared.buckets.base import Bucket, InvalidKey, MissingObject


class PhotoSource:
    """Reads pictures that requests name by key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none."""
        try:
            return self._bucket.get(key)
        except (MissingObject, InvalidKey):
            return None

    def size(self, key: str) -> int | None:
        """The object's size without reading it; None where there is none."""
        try:
            info = self._bucket.head(key)
        except InvalidKey:
            return None
        return info.size if info else None
