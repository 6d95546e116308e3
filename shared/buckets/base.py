"""The protocol of all object stores; `tests/functional/test_buckets.py` is its contract."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple, Protocol

from shared.errors import ConfigurationError, PhotogError

LONGEST_KEY = 1024  # bytes of UTF-8, S3's limit


class BucketError(PhotogError):
    """The store failed or is not usable; the message says what to check."""


class StoreUnavailable(BucketError):
    """The whole store is unavailable at the moment, whatever the key; wait and try again."""


class StoreAbsent(StoreUnavailable):
    """The store's folder or bucket does not exist and cannot be made, as before its volume is mounted."""


class StoreMisconfigured(StoreUnavailable, ConfigurationError):
    """The store can never be used: its address cannot be a store, or there are no credentials for it."""


class MissingObject(BucketError):
    """There is no object with this key."""


class ObjectTooLarge(BucketError):
    """The object has more bytes than its reader accepts; none that photog writes is so large."""


class InvalidKey(BucketError):
    """No object can have this key."""


class UnreadableFolder(BucketError):
    """A listing is incomplete because some folders could not be read; raised after everything else was listed.

    Attributes:
        folders: prefixes that end with /, or are empty for the whole bucket.
    """

    def __init__(self, message: str, folders: Sequence[str]) -> None:
        super().__init__(message)
        self.folders = tuple(folders)


class ObjectInfo(NamedTuple):
    """An object without its bytes; a tuple, because a listing makes a hundred thousand of them.

    Attributes:
        etag: changes whenever the object does.
        modified: seconds since 1970 on the store's clock; for people and for sorting, never for leases.
    """

    key: str
    size: int
    etag: str
    modified: float


class Bucket(Protocol):
    """Objects by key. A reader sees a whole object or none, never a part.

    Implementations inherit the methods that follow from the others.
    """

    address: str

    def get(self, key: str, largest: int | None = None) -> bytes:
        """Return the object's bytes.

        Args:
            largest: limit in bytes, beyond which nothing is read.

        Raises:
            MissingObject: if there is none.
            ObjectTooLarge: if it has more than `largest` bytes.
        """

    def find(self, key: str, largest: int | None = None) -> bytes | None:
        """Return the object's bytes like `get`, but None if there is no object with this key."""
        try:
            return self.get(key, largest)
        except MissingObject:
            return None

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in pieces, for objects that may not fit into memory; raises MissingObject."""

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing any earlier one."""

    def put_all(self, objects: Mapping[str, bytes]) -> None:
        """Write many objects like `put`, in less time; if this raises, some of them may be written."""
        for key, data in objects.items():
            self.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object only if there is none; returns whether it was written. Exactly one concurrent call wins."""

    def put_all_if_absent(self, objects: Mapping[str, bytes]) -> Set[str]:
        """Write many objects like `put_if_absent`, in less time; returns the keys of those that were written."""
        return {key for key, data in objects.items() if self.put_if_absent(key, data)}

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with `prefix` and are greater than `after`, sorted by key.

        Raises UnreadableFolder after everything readable was given, if something was not readable.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names between `prefix`, which is empty or ends with /, and the next /; sorted, each once.

        It is cheap, since objects below them are not listed. A folder on a disk may yield empty ones. Raises
        UnreadableFolder.
        """

    def find_unlisted(self, folder: str, deep: bool = True) -> Iterator[tuple[str, str]]:
        """Yield entries of a folder that `list` does not give, as far as the store can see them: keys, and why.

        Args:
            folder: a prefix that ends with /.
            deep: also in the folders below.
        """

    def find_misspelled(self, root: str) -> Iterator[str]:
        """Yield objects' keys that begin with another spelling of `root`, a name followed by /.

        Any store may have such keys. The search is limited to what costs a few store calls if there are none.
        """

    def delete(self, key: str) -> None:
        """Delete the object; does nothing if there is none."""

    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's description without reading it; None if there is none."""

    def collect(self, prefixes: Sequence[str] = ()) -> Sequence[str]:
        """Remove half-written data of writers that died; returns what was removed, by names that are not keys.

        Data meant for keys below `prefixes` is removed even if its writer may be alive. Raises BucketError if it cannot
        be.
        """


def read_bounded(key: str, data: bytes, largest: int | None) -> bytes:
    """Return the data, which was read up to one byte beyond `largest`; raises ObjectTooLarge if it is longer."""
    if largest is not None and len(data) > largest:
        raise ObjectTooLarge(f"{key} has more than {largest} bytes, more than photog ever writes there")
    return data


def check_key(key: str) -> str:
    """Return the key, or raise InvalidKey.

    A key is relative, has no empty or dot segments, no backslashes or control characters, and at most 1024 bytes.
    """
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidKey(f"{key!r} cannot be a key: segments between / must be names")
    return _check_characters(key)


def check_prefix(prefix: str) -> str:
    """Return the prefix, or raise InvalidKey if no key can begin with it."""
    folder = prefix.rpartition("/")[0]
    if folder or prefix.startswith("/"):
        check_key(folder)
    return _check_characters(prefix)


def check_folder(prefix: str) -> str:
    """Return the prefix of a folder, which is empty for the whole bucket; raises InvalidKey."""
    if prefix and not prefix.endswith("/"):
        raise InvalidKey(f"{prefix!r} is not a folder: it does not end with /")
    return check_prefix(prefix)


def is_usable_key(key: str) -> bool:
    """Return whether an object can have this key."""
    try:
        check_key(key)
    except InvalidKey:
        return False
    return True


def _check_characters(key: str) -> str:
    # most names are printable, which is checked fast
    if "\\" in key or not (key.isprintable() or all(unicodedata.category(one) != "Cc" for one in key)):
        raise InvalidKey(f"{key!r} cannot be a key: it has a backslash or control characters")
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{key!r} cannot be a key: it is not valid Unicode") from error
    if length > LONGEST_KEY:
        raise InvalidKey(f"a key of {length} bytes is too long, {LONGEST_KEY} are allowed")
    return key
