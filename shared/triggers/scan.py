"""Requests out of any bucket by listing it: the truth behind a watcher, and all there is where no queue is.

Every `scan.seconds` all manifests are listed and the unsettled ones offered, oldest first.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

from shared.buckets import Bucket, BucketError, InvalidKey, MissingObject, ObjectInfo
from shared.events import ObjectCreated
from shared.invocation import Outcome, is_request
from shared.manifests import complete
from shared.settings import Scan
from shared.triggers import Receive

log = logging.getLogger(__name__)

STOP_POLL = 0.1  # seconds between two looks whether to stop


@dataclass(frozen=True)
class _Sight:
    etag: str
    since: float


class ScanTrigger:
    """Offers the manifests of one function to `receive` until each is settled."""

    def __init__(
        self,
        bucket: Bucket,
        function: str,
        scan: Scan,
        largest_manifest: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket, self._function, self._scan, self._clock = bucket, function, scan, clock
        self._largest = largest_manifest
        self._prefix = f"requests/{function}/"
        self._settled: dict[str, str] = {}
        self._sights: dict[str, _Sight] = {}

    def run(self, receive: Receive, stop: Event) -> None:
        """Scan, wait, scan again, until `stop` is set; a failing store is logged and tried again."""
        changes = self._changes(stop)
        while not stop.is_set():
            try:
                self.scan(receive, stop)
            except (BucketError, OSError):
                log.exception("the scan of %s/%s failed, the next one goes on", self._bucket.address, self._prefix)
            next(changes, None)

    def scan(self, receive: Receive, stop: Event) -> None:
        """Offer every manifest that is whole and not settled yet."""
        infos = [info for info in self._bucket.list(self._prefix) if is_request(info.key, self._function)]
        self._forget({info.key for info in infos})
        for info in sorted(infos, key=lambda info: (info.modified, info.key)):
            if stop.is_set():
                return
            if self._settled.get(info.key) != info.etag and self._whole(info):
                self._offer(info, receive)

    def beat(self) -> None:
        """Nothing: a listing holds no message."""

    def _offer(self, info: ObjectInfo, receive: Receive) -> None:
        try:
            outcome = receive(ObjectCreated(info.key, size=info.size, etag=info.etag))
        except InvalidKey as error:
            log.error("%s can never be answered: %s", info.key.encode(errors="replace"), error)
            outcome = Outcome.IGNORED
        if outcome.settled:
            self._settled[info.key] = info.etag

    def _whole(self, info: ObjectInfo) -> bool:
        """Whether the writer is done: the text is a whole object, or nobody has touched it for a while."""
        if info.size == 0:
            return False
        if info.size <= self._largest:
            try:
                if complete(self._bucket.get(info.key)):
                    return True
            except MissingObject:
                return False
            except InvalidKey:
                return True
        sight = self._sights.get(info.key)
        if sight is None or sight.etag != info.etag:
            self._sights[info.key] = _Sight(info.etag, self._clock())
            return False
        return self._clock() - sight.since >= self._scan.settle_seconds

    def _forget(self, present: set[str]) -> None:
        for memory in (self._settled, self._sights):
            for key in memory.keys() - present:
                del memory[key]

    def _changes(self, stop: Event) -> Iterator[None]:
        """Yields when the scan is due; ends when `stop` is set."""
        while not stop.is_set():
            due = time.monotonic() + self._scan.seconds
            while time.monotonic() < due and not stop.is_set():
                time.sleep(min(STOP_POLL, self._scan.seconds))
            yield
