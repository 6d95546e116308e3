"""The queues of one bucket: puts come in here, entries go out here, and both bells ring here."""

import secrets
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from serve.bells import Bell
from serve.database import Database
from serve.deliveries import Deliveries
from serve.indexes import Indexes
from serve.ledger import Entry, Ledger, Queue
from serve.record import Record, decoded, encoded, record_key
from shared.buckets.base import Bucket
from shared.errors import RequestError
from shared.manifests import Json, Manifest, parse

REMOVED_AT_ONCE = 100  # entries; answers need the same lock and shall not wait for a truncation of thousands


class QueueFull(Exception):
    """The service has as many unanswered puts as it may have; try again later."""


class Store:
    """Records in the bucket, rows in the ledger, and who waits for either.

    Args:
        services: function by service name.
    """

    def __init__(self, bucket: Bucket, database: Database, services: Mapping[str, str], longest_queue: int) -> None:
        self.bucket, self.services, self.longest_queue = bucket, dict(services), longest_queue
        self.ledger, self.deliveries = Ledger(database), Deliveries(database)
        self._indexes = Indexes(database, bucket)
        self.bells = {queue: Bell() for queue in self.queues()}
        self.wake = {service: threading.Event() for service in services}
        self._moving = {service: threading.RLock() for service in services}
        self._taken: dict[str, set[str]] = {service: set() for service in services}

    def queues(self) -> list[Queue]:
        """Input queue and sink of every service."""
        return [Queue(service, side) for service in self.services for side in ("source", "sink")]

    def put(self, queue: Queue, body: bytes, tags: Mapping[str, str], priority: int) -> tuple[int, str]:
        """Accept bytes into a queue; their index and the request id. QueueFull.

        Durable once it returns: the record is in the bucket, whatever becomes of this process.
        """
        length, _, _ = self.ledger.bounds(queue)
        if length >= self.longest_queue:
            raise QueueFull(f"{queue} holds {length} entries, {self.longest_queue} are allowed; put again later")
        index, identity, now = (
            self._indexes.next(queue),
            str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)),
            time.time(),
        )
        named = {"requestId": identity, "ts@source": str(int(now * 1000))}
        record = Record(
            uuid=identity,
            service=queue.service,
            tags=named | dict(tags),
            priority=priority,
            accepted=now,
            **(_request(body, index) if queue.side == "source" else {"sink": index, "answered": now, "inline": True}),
        )
        self.bucket.put(record.key, encoded(record, body))
        self.ledger.add(record, len(body))
        self._changed(queue)
        return index, record.tags["requestId"]

    def answer(self, one: Entry, error: Json | None = None) -> Record | None:
        """Give a put its place in the sink, once; None where it was taken back or has one already."""
        queue = Queue(one.service, "sink")
        with self._moving[one.service]:
            if self.bucket.head(record_key(one.service, one.uuid)) is None:
                return None
            record, body = decoded(self.bucket.get(record_key(one.service, one.uuid)))
            if record.sink is None:
                place = {"sink": self._indexes.next(queue), "answered": time.time(), "error": error}
                record = record.model_copy(update=place)
                self.bucket.put(record.key, encoded(record, body))
            self.ledger.answer(record)
        self._changed(queue)
        self.bells[Queue(one.service, "source")].ring()
        return record

    def remove(self, queue: Queue, uuids: list[str]) -> int:
        """Take entries out of their queue for good, records first; how many there were."""
        for start in range(0, len(uuids), REMOVED_AT_ONCE):
            some = uuids[start : start + REMOVED_AT_ONCE]
            with self._moving[queue.service]:
                for one in some:
                    self.bucket.delete(record_key(queue.service, one))
                self.ledger.remove(some)
        if uuids:
            self._changed(queue)
        return len(uuids)

    def find(self, queue: Queue, first: int, length: int, tags: Mapping[str, str], take: bool) -> list[Entry]:
        """Entries that nobody has taken; with `take` nobody else gets them until `put_back` or `remove`."""
        with self._moving[queue.service]:
            found = self.ledger.find(queue, first, length, tags, self.taken(queue.service))
            if take:
                self._taken[queue.service].update(one.uuid for one in found)
        return found

    def put_back(self, queue: Queue, uuids: Iterable[str]) -> None:
        """What was taken is there for others again, unless it was removed."""
        with self._moving[queue.service]:
            self._taken[queue.service].difference_update(uuids)
        self.bells[queue].ring()

    def taken(self, service: str) -> frozenset[str]:
        """What a get with auto_delete is handing out right now."""
        with self._moving[service]:
            return frozenset(self._taken[service])

    @contextmanager
    def moving(self, service: str) -> Iterator[None]:
        """While nothing of a service is answered or removed."""
        with self._moving[service]:
            yield

    def _changed(self, queue: Queue) -> None:
        self.bells[queue].ring()
        self.wake[queue.service].set()


def _request(body: bytes, index: int) -> Json:
    """What a record says of the request in a body; only its index where it is none."""
    manifest = readable(body)
    if manifest is None:
        return {"source": index}
    configure = manifest.body.get("configure")
    wanted = configure.get("image_format") if isinstance(configure, dict) else None
    picture = "png" if wanted == "png" else "base64"
    return {"source": index, "request_id": manifest.request_id, "sha256": manifest.sha256, "picture": picture}


def readable(body: bytes) -> Manifest | None:
    """The request in a body; None where there is none."""
    try:
        return parse(body)
    except RequestError:
        return None
