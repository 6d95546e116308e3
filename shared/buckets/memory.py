"""A bucket in this process's memory, for tests and experiments."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence

from shared.buckets.base import Bucket, MissingObject, ObjectInfo, check_folder, check_key, check_prefix, read_bounded
from shared.buckets.misnamed import find_misspelled


class MemoryBucket(Bucket):
    """Objects in a dictionary behind a lock; thread-safe, and gone with the process."""

    def __init__(self, name: str = "memory") -> None:
        self.address = f"memory://{name}"
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()

    def get(self, key: str, largest: int | None = None) -> bytes:
        try:
            return read_bounded(key, self._objects[check_key(key)][0], largest)
        except KeyError:
            raise MissingObject(f"no object {key} in {self.address}") from None

    def stream(self, key: str) -> Iterator[bytes]:
        yield self.get(key)

    def put(self, key: str, data: bytes) -> None:
        with self._lock:
            self._store(check_key(key), data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._lock:
            if check_key(key) in self._objects:
                return False
            self._store(key, data)
            return True

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._lock:
            found = [info for key, (_, info) in self._objects.items() if key.startswith(prefix) and key > after]
        yield from sorted(found, key=lambda info: info.key)

    def folders(self, prefix: str) -> Iterator[str]:
        begin = len(check_folder(prefix))
        with self._lock:
            below = [key[begin:].partition("/") for key in self._objects if key.startswith(prefix)]
        yield from sorted({name for name, slash, _ in below if slash})

    def find_unlisted(self, folder: str, deep: bool = True) -> Iterator[tuple[str, str]]:
        yield from ()

    def find_misspelled(self, root: str) -> Iterator[str]:
        yield from find_misspelled(self, root)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(check_key(key), None)

    def head(self, key: str) -> ObjectInfo | None:
        stored = self._objects.get(check_key(key))
        return stored[1] if stored else None

    def collect(self, prefixes: Sequence[str] = ()) -> Sequence[str]:
        return ()

    def _store(self, key: str, data: bytes) -> None:
        self._objects[key] = bytes(data), ObjectInfo(key, len(data), str(next(self._versions)), time.time())
