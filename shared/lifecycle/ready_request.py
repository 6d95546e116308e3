"""A request that was made ready while another one ran: its manifest, its pictures, and what its function will look up.

| what was made ready | used | otherwise |
|---|---|---|
| the manifest | by the delivery for which it was read, if its object is still the same | read again |
| pictures, objects, sizes, etags | once each, by that request's first attempt, within `KEPT_SECONDS` | read again |

So nothing that was read ahead ever answers another request, nor the same one sent again after it was erased.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from shared.buckets.base import Bucket, ObjectInfo
from shared.contract.manifests import Json, Manifest
from shared.contract.workspace import Workspace
from shared.errors import PhotoError
from shared.events import ObjectCreated
from shared.lifecycle.prefetched_photos import KEPT_SECONDS, MOST_BYTES, TakenPhotos
from shared.lifecycle.shutdown import Interrupted


class Preparing(Protocol):
    """A function that can make a request ready while it works on another one."""

    def prepare(self, body: Json, workspace: Workspace) -> None:
        """Look up what `answer` will look up first, and decode what it will decode; in another thread than `answer`.

        It changes nothing, and whatever it raises is as if it had done nothing. Its calls of the workspace raise
        Interrupted once the request's turn has come.
        """


@dataclass(frozen=True)
class ReadyRequest:
    """What was made ready for one delivery.

    Attributes:
        created: the delivery, by which it is recognized.
        info: of the manifest's object before it was read; another object under its key is another request.
    """

    created: ObjectCreated
    info: ObjectInfo
    manifest: Manifest
    looked_up: "LookedUp"


@dataclass
class LookedUp:
    """What a function has looked up ahead; each finding is given once."""

    clock: Callable[[], float] = time.monotonic
    found: dict[tuple[str, str], bytes | str | int] = field(default_factory=dict)
    size: int = 0
    until: float = float("inf")
    lock: Lock = field(default_factory=Lock)

    def keep(self, method: str, key: str, value: bytes | str | int | None) -> None:
        """Keep a finding, unless there was nothing or it is too much."""
        size = len(value) if isinstance(value, bytes) else 0
        with self.lock:
            if value is not None and self.size + size <= MOST_BYTES:
                self.found[method, key] = value
                self.size += size
                self.until = min(self.until, self.clock() + KEPT_SECONDS)

    def take(self, method: str, key: str) -> bytes | str | int | None:
        """Return a finding; None if there is none any more."""
        with self.lock:
            value = self.found.pop((method, key), None)
            return value if self.clock() < self.until else None

    def drop(self) -> None:
        """Forget everything."""
        with self.lock:
            self.found.clear()
            self.size = MOST_BYTES + 1  # nor keep anything else


class ReadyingWorkspace:
    """The workspace of a request that is made ready: it reads, keeps what it has read, and changes nothing.

    Args:
        photos: those that were fetched ahead; one that is read here is still there for the request.
        over: whether the request's turn has come, so that making it ready would hold it up.
    """

    attempt = 1

    def __init__(
        self, bucket: Bucket, request_id: str, photos: TakenPhotos, looked_up: LookedUp, over: Callable[[], bool]
    ) -> None:
        self.request_id = request_id
        self._bucket, self._photos, self._looked_up, self._over = bucket, photos, looked_up, over

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """Return the bytes of each picture, and keep them for the request."""
        self.check()
        fetched = self._photos.fetch(references, keep=True)
        self.check()
        return fetched

    def read(self, key: str) -> bytes | None:
        """Return an object, and keep it for the request."""
        self.check()
        found = self._bucket.find(key)
        self._looked_up.keep("read", key, found)
        return found

    def etag(self, key: str) -> str | None:
        """Return an object's etag, and keep it for the request."""
        return self._head(key)[0]

    def size(self, key: str) -> int | None:
        """Return an object's size, and keep it for the request."""
        return self._head(key)[1]

    def _head(self, key: str) -> tuple[str | None, int | None]:
        self.check()
        info = self._bucket.head(key)
        if info is None:
            return None, None
        self._looked_up.keep("etag", key, info.etag)
        self._looked_up.keep("size", key, info.size)
        return info.etag, info.size

    def check(self) -> None:
        """Raise Interrupted once the request's turn has come."""
        if self._over():
            raise Interrupted(f"{self.request_id} is not made ready any further, for its turn has come")

    def save(self, name: str, data: bytes) -> str:
        """Raise Interrupted: a request that is only made ready writes nothing."""
        raise Interrupted(f"{self.request_id} is only made ready, and writes no {name}")

    def previous(self, name: str) -> bytes | None:
        """Return None: only the first attempt is made ready."""
        return None

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Report nothing."""
        self.check()
