"""A bucket as the fetcher of pictures sees it: bytes and size by key, and nothing for a name that cannot be a key.

A picture that cannot be read is that picture's error; a store that is away is nobody's, so its StoreUnavailable passes
and the request is tried again.
"""

import itertools
import json
import unicodedata
from collections.abc import Mapping

from shared.buckets import open_bucket, prefix_of, s3_name
from shared.buckets.base import Bucket, BucketError, InvalidKey, StoreUnavailable
from shared.errors import PhotoUnavailable
from shared.photos import PhotoFetcher
from shared.photos.keys import find_similar_key
from shared.photos.references import CUT, show_reference
from shared.settings import Settings

NEIGHBORS = 1000  # keys among which a resembling one is looked for: one call of a store


class PhotoSource:
    """Reads pictures that requests name by key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none, OSError where this service may not read it.

        PhotoUnavailable where there is none, but one whose key looks the same.
        """
        try:
            found = self._bucket.find(key)
        except InvalidKey:
            return None
        except StoreUnavailable:
            raise
        except BucketError as error:
            raise PermissionError("the bucket does not let this service read it") from error
        if found is None and (other := self._resembling(key)) is not None:
            raise PhotoUnavailable(_hint(key, other))
        return found

    def size(self, key: str) -> int | None:
        """The object's size without reading it; None where there is none, or reading it will tell why."""
        try:
            info = self._bucket.head(key)
        except StoreUnavailable:
            raise
        except BucketError:
            return None
        return info.size if info else None

    def _resembling(self, key: str) -> str | None:
        """A key that is there and differs in how its characters are written alone; None where nothing can be seen."""
        forms = {unicodedata.normalize(form, key) for form in ("NFC", "NFD")} - {key}
        plain = "".join(itertools.takewhile(str.isascii, key))
        folder = "".join(plain.rpartition("/")[:2])
        try:
            there = [one for one in forms if self._bucket.head(one) is not None]
            there += [info.key for info in itertools.islice(self._bucket.list(folder), NEIGHBORS)]
        except BucketError:
            return None  # a hint is worth no failure; a store that is away will be met again
        return find_similar_key(key, there)


def _hint(key: str, other: str) -> str:
    """Both keys look alike, so the other one is written also as JSON's escapes tell it."""
    if unicodedata.normalize("NFC", key) == unicodedata.normalize("NFC", other):
        differs = "in Unicode normalization (NFC, NFD) alone"
    else:
        differs = "in capitals, in kinds of characters or in what is not seen alone"
    hint = f"{show_reference(key)} is not in the bucket, but {show_reference(other)} is, which differs {differs}"
    return hint if CUT in show_reference(other) else f"{hint}: write {json.dumps(other)}"


def named_buckets(bucket: Bucket, settings: Settings) -> dict[str, Bucket]:
    """The buckets that references may name: the configured ones, and the requests' own if it has a name, no prefix."""
    own = s3_name(bucket)
    named = {own: bucket} if own is not None and not prefix_of(bucket) else {}
    return named | {name: open_bucket(at, settings.s3) for name, at in settings.buckets.items()}


def make_fetcher(bucket: Bucket, named: Mapping[str, Bucket], settings: Settings) -> PhotoFetcher:
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
        user_agent=settings.user_agent,
    )
