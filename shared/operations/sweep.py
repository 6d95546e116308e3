"""Requests whose event was lost: older than their queue's patience, without an answer and without a living worker."""

import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.buckets.base import Bucket, MissingObject, ObjectInfo
from shared.contract import keys
from shared.contract.manifests import invalid_id, parse
from shared.errors import RequestError
from shared.lifecycle import unread
from shared.lifecycle.claims import STALE_LEASES, ClaimRecord, Claims
from shared.lifecycle.manifest_reader import require_key
from shared.settings import Lease, Limits

READERS = 16  # manifests read concurrently; each is one round trip to the store


@dataclass(frozen=True)
class StalledRequest:
    """A manifest that no worker will answer unless its event is sent again.

    Attributes:
        state: `unclaimed`, `released` by a worker that shut down, or `abandoned` by one that died.
        age: seconds since it was written, by the store's clock and ours.
    """

    function: str
    request_id: str
    info: ObjectInfo
    state: str
    age: float


class Sweep:
    """Searches one bucket without changing it, and logs strays among the requests."""

    def __init__(
        self,
        bucket: Bucket,
        limits: Limits,
        lease: Lease,
        wall: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket, self._limits, self._lease, self._wall, self._wait = bucket, limits, lease, wall, wait
        self._stray_log = unread.StrayLog()

    def find(self, functions: Iterable[str], older_seconds: float) -> list[StalledRequest]:
        """Return the lost requests, sorted by function and key.

        If any are claimed, it waits two leases to see whether their owners beat.
        """
        lost, claimed = [], []
        for one in self._find_unanswered(functions, older_seconds):
            latest = self._latest(one)
            if latest is None or latest.released:
                lost.append(
                    StalledRequest(
                        one.function, one.request_id, one.info, "released" if latest else "unclaimed", one.age
                    )
                )
            else:
                claimed.append((one, latest))
        if claimed:
            self._wait(STALE_LEASES * self._lease.seconds)
        lost += [one for one, before in claimed if self._latest(one) == before and not self._is_answered(one)]
        return sorted(lost, key=lambda one: (one.function, one.info.key))

    def _find_unanswered(self, functions: Iterable[str], older_seconds: float) -> list[StalledRequest]:
        found = []
        with ThreadPoolExecutor(READERS) as pool:
            for function in functions:
                answered = {
                    info.key.split("/")[2]
                    for info in self._bucket.list(keys.results(function))
                    if info.key.endswith("/result.json")
                }
                listed = [
                    info
                    for info in self._bucket.list(keys.requests(function))
                    if info.size and self._wall() - info.modified >= older_seconds
                ]
                old = [info for info in listed if keys.is_request(info.key, function)]
                for stray in (*unread.find_strays(listed), *unread.find_unlisted(self._bucket, function)):
                    self._stray_log.tell(stray)
                for info, identity in zip(old, pool.map(self._identity, old), strict=True):
                    if identity is not None and identity not in answered:
                        found.append(
                            StalledRequest(function, identity, info, "abandoned", self._wall() - info.modified)
                        )
        return found

    def _identity(self, info: ObjectInfo) -> str | None:
        """Return the id under which the manifest is answered; None if it is gone."""
        try:
            if info.size <= self._limits.manifest_bytes:
                text = self._bucket.get(info.key)
                try:
                    require_key(info.key)
                    return parse(text).request_id
                except RequestError:
                    return invalid_id(hashlib.sha256(text).hexdigest())
            digest = hashlib.sha256()
            for piece in self._bucket.stream(info.key):
                digest.update(piece)
            return invalid_id(digest.hexdigest())
        except MissingObject:
            return None

    def _latest(self, one: StalledRequest) -> ClaimRecord | None:
        records = Claims(self._bucket, one.function, self._lease, "sweep").all(one.request_id)
        return records[-1] if records else None

    def _is_answered(self, one: StalledRequest) -> bool:
        return self._bucket.head(keys.result(one.function, one.request_id)) is not None
