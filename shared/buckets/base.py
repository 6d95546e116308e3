"""What every object store can do for us; `tests/functional/test_buckets.py` is the contract."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

LONGEST_KEY = 1024  # bytes of UTF-8, S3's limit


class BucketError(Exception):
    """The store failed or is not usable; the message says what to look at."""


class MissingObject(BucketError):
    """There is no object under this key."""


class InvalidKey(BucketError):
    """No object can have this key."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its bytes.

    Attributes:
        etag: changes whenever the object does.
        modified: seconds since 1970 on the store's clock; for people and for order, never for leases.
    """

    key: str
    size: int
    etag: str
    modified: float


class Bucket(Protocol):
    """Objects by key. A reader sees the whole of an object or none of it, never a part."""

    address: str

    def get(self, key: str) -> bytes:
        """The object's bytes; MissingObject."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The object's bytes in pieces, for what may not fit into memory; MissingObject."""

    def put(self, key: str, data: bytes) -> None:
        """Write the object, over whatever was there."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; whether it was written. Of many at once exactly one wins."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix`, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove the object; fine if there is none."""

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object without reading it; None where there is none."""


def checked(key: str) -> str:
    """The key itself, or InvalidKey: relative, no empty or dot segments, no control characters, at most 1024 bytes."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in key or any(ord(letter) < 32 for letter in key):
        raise InvalidKey(f"{key!r} cannot be a key: segments between / must be names")
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{key!r} cannot be a key: it is not valid Unicode") from error
    if length > LONGEST_KEY:
        raise InvalidKey(f"a key of {length} bytes is too long, {LONGEST_KEY} are allowed")
    return key
