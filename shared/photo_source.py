"""A bucket as the fetcher of pictures sees it: bytes and size by key, and nothing for a name that cannot be a key.

A picture that cannot be read is that picture's error; a store that is away is nobody's, so its StoreUnavailable passes
and the request is tried again.
"""

from collections.abc import Mapping

from shared.buckets.base import Bucket, BucketError, InvalidKey, MissingObject, StoreUnavailable
from shared.photos import PhotoFetcher
from shared.settings import Settings


class PhotoSource:
    """Reads pictures that requests name by key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none, OSError where this service may not read it."""
        try:
            return self._bucket.get(key)
        except (MissingObject, InvalidKey):
            return None
        except StoreUnavailable:
            raise
        except BucketError as error:
            raise PermissionError("the bucket does not let this service read it") from error

    def size(self, key: str) -> int | None:
        """The object's size without reading it; None where there is none, or reading it will tell why."""
        try:
            info = self._bucket.head(key)
        except StoreUnavailable:
            raise
        except BucketError:
            return None
        return info.size if info else None


def fetcher(bucket: Bucket, named: Mapping[str, Bucket], settings: Settings) -> PhotoFetcher:
    """What fetches the pictures of a bucket's requests.

    Args:
        bucket: the requests' own, whose keys are references.
        named: the buckets that references may name.
    """
    own, sources = PhotoSource(bucket), {name: PhotoSource(source) for name, source in named.items()}
    return PhotoFetcher(
        settings.limits,
        settings.private_addresses,
        own.read,
        {name: source.read for name, source in sources.items()},
        size_of=own.size,
        bucket_sizes={name: source.size for name, source in sources.items()},
    )
