"""A bucket as a source of pictures for the fetcher: bytes and size by key; a name that cannot be a key finds nothing.

A picture that cannot be read is an error of that picture. A store that is unavailable is not: its StoreUnavailable is
raised, and the request is tried again.
"""

import itertools
import json
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.buckets import open_bucket, prefix_of, s3_name
from shared.buckets.base import Bucket, BucketError, InvalidKey, StoreUnavailable
from shared.errors import PhotoUnavailable, PhotoUndecodable
from shared.photos.keys import find_similar_key
from shared.photos.packing import GZIP
from shared.photos.references import CUT, show_reference
from shared.photos.signatures import explain_file, is_picture
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.photos import PhotoFetcher

NEIGHBORS = 1000  # keys searched for a similar one: one call of a store


def require_picture(data: bytes) -> None:
    """Raise PhotoUndecodable, which says what they are, for bytes that do not begin like a picture; decodes nothing."""
    if not (is_picture(data) or data.startswith(GZIP)):
        raise PhotoUndecodable(explain_file(data))


class PhotoSource:
    """Reads the pictures that requests name by key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, key: str) -> bytes | None:
        """Return the object's bytes, or None if it does not exist.

        Raises:
            PhotoUnavailable: if it does not exist, but an object whose key looks the same does.
            OSError: if this service may not read it.
        """
        try:
            found = self._bucket.find(key)
        except InvalidKey:
            return None
        except StoreUnavailable:
            raise
        except BucketError as error:
            raise PermissionError("the bucket does not let this service read it") from error
        if found is None and (other := self._find_similar(key)) is not None:
            raise PhotoUnavailable(_hint(key, other))
        return found

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes without reading it.

        None if it does not exist, or if only reading it will tell what is wrong.
        """
        try:
            info = self._bucket.head(key)
        except StoreUnavailable:
            raise
        except BucketError:
            return None
        return info.size if info else None

    def _find_similar(self, key: str) -> str | None:
        """Return an existing key that differs only in how its characters are written.

        None if there is no such key, or if the bucket cannot be searched.
        """
        forms = {unicodedata.normalize(form, key) for form in ("NFC", "NFD")} - {key}
        plain = "".join(itertools.takewhile(str.isascii, key))
        folder = "".join(plain.rpartition("/")[:2])
        try:
            there = [one for one in forms if self._bucket.head(one) is not None]
            there += [info.key for info in itertools.islice(self._bucket.list(folder), NEIGHBORS)]
        except BucketError:
            return None  # a hint is not worth a failure; an unavailable store will be noticed again
        return find_similar_key(key, there)


def _hint(key: str, other: str) -> str:
    """Return the hint; both keys look alike, so the other one is also shown with JSON's escapes."""
    if unicodedata.normalize("NFC", key) == unicodedata.normalize("NFC", other):
        differs = "only in Unicode normalization (NFC, NFD)"
    else:
        differs = "only in upper and lower case, in look-alike characters or in invisible ones"
    hint = f"{show_reference(key)} is not in the bucket, but {show_reference(other)} is, which differs {differs}"
    return hint if CUT in show_reference(other) else f"{hint}: write {json.dumps(other)}"


def named_buckets(bucket: Bucket, settings: Settings) -> dict[str, Bucket]:
    """Return the buckets that references may name.

    These are the configured ones, and the requests' own bucket if it has a name and no prefix.
    """
    own = s3_name(bucket)
    named = {own: bucket} if own is not None and not prefix_of(bucket) else {}
    return named | {name: open_bucket(at, settings.s3) for name, at in settings.buckets.items()}


def make_fetcher(bucket: Bucket, named: Mapping[str, Bucket], settings: Settings) -> "PhotoFetcher":
    """Return the fetcher for the pictures of a bucket's requests.

    Args:
        bucket: the requests' own bucket; a reference that is a key is read from it.
        named: the buckets that references may name.
    """
    from shared.photos import PhotoFetcher  # with httpx, which the commands that make no fetcher do without

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
