"""What every object store can do for us; `tests/functional/test_buckets.py` is the contract."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from shared.errors import ConfigurationError, PhotogError

LONGEST_KEY = 1024  # bytes of UTF-8, S3's limit


class BucketError(PhotogError):
    """The store failed or is not usable; the message says what to look at."""


class StoreUnavailable(BucketError):
    """The store as a whole does not serve at the moment, whatever the key: wait, and try again."""


class StoreAbsent(StoreUnavailable):
    """The place of the store is not there and cannot be made, as before its volume is mounted."""


class StoreMisconfigured(StoreUnavailable, ConfigurationError):
    """It never will: its address names what can be no store, or there are no credentials for it."""


class MissingObject(BucketError):
    """There is no object under this key."""


class ObjectTooLarge(BucketError):
    """The object has more bytes than its reader takes: none of ours has so many."""


class InvalidKey(BucketError):
    """No object can have this key."""


class UnreadableFolder(BucketError):
    """A listing is not complete: these folders could not be looked into. Raised after all that could be was given.

    Attributes:
        folders: prefixes that end with /, or are empty for the whole bucket.
    """

    def __init__(self, message: str, folders: Sequence[str]) -> None:
        super().__init__(message)
        self.folders = tuple(folders)


class ObjectInfo(NamedTuple):
    """An object without its bytes. A tuple, since a hundred thousand of them are made in a listing.

    Attributes:
        etag: changes whenever the object does.
        modified: seconds since 1970 on the store's clock; for people and for order, never for leases.
    """

    key: str
    size: int
    etag: str
    modified: float


class Bucket(Protocol):
    """Objects by key. A reader sees the whole of an object or none of it, never a part.

    Implementations inherit from it what follows from the other methods.
    """

    address: str

    def get(self, key: str, largest: int | None = None) -> bytes:
        """The object's bytes; MissingObject. ObjectTooLarge beyond `largest` bytes, of which no more are read."""

    def find(self, key: str, largest: int | None = None) -> bytes | None:
        """As `get`, but None where there is no object under this key."""
        try:
            return self.get(key, largest)
        except MissingObject:
            return None

    def stream(self, key: str) -> Iterator[bytes]:
        """The object's bytes in pieces, for what may not fit into memory; MissingObject."""

    def put(self, key: str, data: bytes) -> None:
        """Write the object, over whatever was there."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; whether it was written. Of many at once exactly one wins."""

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix` and are greater than `after`, sorted by key.

        UnreadableFolder when everything that can be read has been given and something could not be.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """The names that come between `prefix`, which is empty or ends with /, and a next /; sorted, each once.

        Cheap: what lies below them is not listed. A folder on a disk may name empty ones. UnreadableFolder.
        """

    def passed_over(self, folder: str, deep: bool = True) -> Iterator[tuple[str, str]]:
        """What lies in a folder and is no object that `list` gives, as far as the store can tell: keys, and why.

        Args:
            folder: a prefix that ends with /.
            deep: also in the folders below.
        """

    def misspelled(self, root: str) -> Iterator[str]:
        """Keys of objects that begin with another spelling of `root`, a name with / behind it; any store may hold them.

        So much is looked at as costs no more than a few calls of the store, where nobody has left such keys.
        """

    def delete(self, key: str) -> None:
        """Remove the object; fine if there is none."""

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object without reading it; None where there is none."""

    def collect(self, prefixes: Sequence[str] = ()) -> Sequence[str]:
        """Remove what writers left half-written when they died; what was removed, by names that are no keys.

        What is meant for keys below `prefixes` goes even where its writer may live. BucketError where it cannot go.
        """


def read_bounded(key: str, data: bytes, largest: int | None) -> bytes:
    """The data itself, read one byte further than it may reach; ObjectTooLarge."""
    if largest is not None and len(data) > largest:
        raise ObjectTooLarge(f"{key} has more than {largest} bytes, which none of ours has")
    return data


def check_key(key: str) -> str:
    """The key itself, or InvalidKey: relative, no empty or dot segments, no control characters, at most 1024 bytes."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidKey(f"{key!r} cannot be a key: segments between / must be names")
    return _spelled(key)


def check_prefix(prefix: str) -> str:
    """The beginning of keys itself, or InvalidKey where no key can begin so."""
    folder = prefix.rpartition("/")[0]
    if folder or prefix.startswith("/"):
        check_key(folder)
    return _spelled(prefix)


def check_folder(prefix: str) -> str:
    """The prefix of a folder itself, empty for the whole bucket, or InvalidKey."""
    if prefix and not prefix.endswith("/"):
        raise InvalidKey(f"{prefix!r} is no folder: it does not end with /")
    return check_prefix(prefix)


def is_usable_key(key: str) -> bool:
    """Whether an object can have this key."""
    try:
        check_key(key)
    except InvalidKey:
        return False
    return True


def _spelled(key: str) -> str:
    # a name that is printable is the usual one, and told at once
    if "\\" in key or not (key.isprintable() or all(unicodedata.category(one) != "Cc" for one in key)):
        raise InvalidKey(f"{key!r} cannot be a key: it has a backslash or control characters")
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{key!r} cannot be a key: it is not valid Unicode") from error
    if length > LONGEST_KEY:
        raise InvalidKey(f"a key of {length} bytes is too long, {LONGEST_KEY} are allowed")
    return key
