"""The queues of one bucket: puts are accepted and entries removed here, and waiting calls are woken here."""

import contextlib
import hashlib
import logging
import secrets
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from serve.change_signal import ChangeSignal
from serve.database import Database, StateUnavailable
from serve.deliveries import Deliveries
from serve.message import Message, decode_message, encode_message, message_key
from serve.queue_index import Entry, IndexTaken, QueueIndex, ServiceQueue, Side
from serve.sequence import IndexSequence
from shared.buckets.base import Bucket, BucketError, StoreUnavailable
from shared.contract.manifests import Json, Manifest, failure, invalid_id, parse
from shared.errors import PhotogError, RequestError

log = logging.getLogger(__name__)

LARGE_BODY = 256 * 1024  # bytes; larger bodies are parsed one at a time, because a parsed one takes many times its size
ENTERED = 3  # tries to find an index that no other record has
REMOVED_AT_ONCE = 100  # entries; answers need the same lock and must not wait for a truncation of thousands


class QueueFull(PhotogError):
    """Raised when the service has as many unanswered puts as are allowed; try again later."""


@dataclass(frozen=True)
class Put:
    """Bytes for a queue."""

    queue: ServiceQueue
    body: bytes
    tags: Mapping[str, str]
    priority: int


@dataclass
class _New:
    """A put that is being written.

    Attributes:
        data: its record's object.
        placed: whether that is surely in the bucket.
        entered: whether its row is surely there as well.
    """

    record: Message
    body: bytes
    data: bytes
    placed: bool = False
    entered: bool = False


class Store:
    """The records in the bucket, their rows in the index, and the signals to whatever waits for either.

    Args:
        services: function by service name.
    """

    def __init__(self, bucket: Bucket, database: Database, services: Mapping[str, str], longest_queue: int) -> None:
        self.bucket, self.services, self.longest_queue = bucket, dict(services), longest_queue
        self.index, self.deliveries = QueueIndex(database), Deliveries(database)
        self._indexes = IndexSequence(database, bucket)
        self.change_signals = {queue: ChangeSignal() for queue in self.queues()}
        self.wake = {service: threading.Event() for service in services}
        self._moving = {service: threading.RLock() for service in services}
        self._parsing = threading.Lock()
        self._taken: dict[str, set[str]] = {service: set() for service in services}

    def queues(self) -> list[ServiceQueue]:
        """Return the input queue and the sink of every service."""
        return [ServiceQueue(service, side) for service in self.services for side in ("source", "sink")]

    def put(self, queue: ServiceQueue, body: bytes, tags: Mapping[str, str], priority: int) -> tuple[int, str]:
        """Accept bytes into a queue; return their index and request id. Raises QueueFull.

        The put is durable once this returns: the record is in the bucket, whatever happens to this process.
        """
        [outcome] = self.put_all([Put(queue, body, tags, priority)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def put_all(self, puts: Sequence[Put]) -> list[tuple[int, str] | Exception]:
        """Accept puts as `put` does, with the syncs of all at once; return for each what `put` returns or raises."""
        outcomes = dict[int, tuple[int, str] | Exception]()
        made = dict[int, _New]()
        coming: Counter[ServiceQueue] = Counter()
        for number, one in enumerate(puts):
            try:
                self._require_room(one.queue, coming[one.queue])
                made[number] = self._make_new(one)
            except Exception as error:  # noqa: BLE001 - the boundary between puts; raised to the caller of this one
                outcomes[number] = error
            else:
                coming[one.queue] += 1
        if len(made) > 1:
            self._write_together(list(made.values()))
        outcomes |= self._write_each(made)
        for queue in coming:
            self._signal_change(queue)
        return [outcomes[number] for number in range(len(puts))]

    def _require_room(self, queue: ServiceQueue, coming: int) -> None:
        if self.index.reaches(queue, self.longest_queue - coming):
            raise QueueFull(f"{queue} holds {self.longest_queue} entries, as many as are allowed; put again later")

    def _make_new(self, one: Put) -> "_New":
        record = self._make_record(one)
        return _New(record, one.body, encode_message(record, one.body))

    def _make_record(self, one: Put) -> Message:
        fields = self._request(one.body) if one.queue.side == "source" else {"inline": True}
        index, now = self._indexes.next(one.queue), time.time()
        identity = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        named = {"requestId": identity, "ts@source": str(int(now * 1000))}
        place = {"source": index} if one.queue.side == "source" else {"sink": index, "answered": now}
        return Message(
            uuid=identity,
            service=one.queue.service,
            tags=named | dict(one.tags),
            priority=one.priority,
            accepted=now,
            **place,
            **fields,
        )

    def _write_together(self, new: Sequence["_New"]) -> None:
        """Write records and their rows; what cannot be written together is left to be written one by one."""
        with contextlib.suppress(BucketError, StateUnavailable, sqlite3.Error, OSError):
            self.bucket.put_all({one.record.key: one.data for one in new})
            for one in new:
                one.placed = True
            taken = self.index.add_all([(one.record, len(one.data)) for one in new])
            again = {one.record.uuid for one in taken}
            for one in new:
                one.entered = one.record.uuid not in again

    def _write_each(self, made: Mapping[int, "_New"]) -> dict[int, tuple[int, str] | Exception]:
        """Write what is still missing of each put; return for each what `put` returns or raises.

        Once the whole store is away, the others are refused without asking it again, which may take long each time.
        """
        outcomes = dict[int, tuple[int, str] | Exception]()
        refused = list[Message]()
        away: StoreUnavailable | None = None
        for number, one in made.items():
            try:
                written = self._write_new(one, away)
            except Exception as error:  # noqa: BLE001 - as in `put_all`
                outcomes[number] = error
                refused.append(one.record)
                away = error if isinstance(error, StoreUnavailable) else away
            else:
                outcomes[number] = written.source or written.sink or 0, written.tags["requestId"]
        self._take_back(refused)
        return outcomes

    def _write_new(self, one: "_New", away: StoreUnavailable | None) -> Message:
        if one.entered:
            return one.record
        if not one.placed:
            if away is not None:
                raise away
            self.bucket.put(one.record.key, one.data)
        return self._enter(one.record, one.body, len(one.data), self.index.add)

    def _take_back(self, refused: Iterable[Message]) -> None:
        """Delete what may have been written of puts that were not accepted: their senders put again."""
        for record in refused:
            try:
                self.bucket.delete(record.key)
            except StoreUnavailable as error:
                log.error("puts that were not accepted may lie in the bucket, and are then worked on: %s", error)
                return
            except (BucketError, OSError) as error:
                log.error("%s was not accepted; delete it, or it may be worked on: %s", record.key, error)
            else:
                with contextlib.suppress(StateUnavailable, sqlite3.Error):  # a row without a record is not worked on
                    self.index.remove([record.uuid])

    def answer(self, one: Entry, error: Json | None = None) -> Message | None:
        """Give a put its place in the sink, once; return its record, or None if it was taken back. Raises NotAMessage.

        Args:
            error: the answer, if no worker is needed and the record does not have it already.
        """
        queue = ServiceQueue(one.service, "sink")
        with self._moving[one.service]:
            data = self.bucket.find(message_key(one.service, one.uuid))
            if data is None:
                self.index.remove([one.uuid])
                return None
            record, body = decode_message(data)
            if record.sink is None:
                answer = {"answered": time.time(), "error": record.error or error}
                record = record.model_copy(update={"sink": self._indexes.next(queue), **answer})
                record = self._write(record, body, self.index.answer)
            else:
                self._enter(record, body, len(data), self.index.answer)
        self._signal_change(queue)
        self.change_signals[ServiceQueue(one.service, "source")].ring()
        return record

    def answer_all(self, service: str, entries: Sequence[Entry]) -> list[Entry]:
        """Give puts that have an answer their places in the sink, in this order, as `answer` does for each.

        Their records are written together. Returns the entries that are answered now; those that were taken back are
        left out. What needs more than that is left to `answer`, and so raises what that raises.
        """
        queue = ServiceQueue(service, "sink")
        with self._moving[service]:
            plain = {one.uuid: found for one in entries if (found := self._read_unanswered(one)) is not None}
            written = {uuid: self._place_in_sink(*found) for uuid, found in plain.items()}
            data = {record.key: encode_message(record, body) for record, body in written.values()}
            if data:
                self.bucket.put_all(data)
            for record, body in written.values():
                self._enter(record, body, len(data[record.key]), self.index.answer)
        if written:
            self._signal_change(queue)
            self.change_signals[ServiceQueue(service, "source")].ring()
        return [one for one in entries if one.uuid in written or self.answer(one) is not None]

    def _read_unanswered(self, one: Entry) -> tuple[Message, bytes] | None:
        """Return a put's record and body if it has no place in the sink yet, nor an error of its own."""
        data = self.bucket.find(message_key(one.service, one.uuid))
        if data is None:
            return None
        record, body = decode_message(data)
        return (record, body) if record.sink is None and record.error is None else None

    def _place_in_sink(self, record: Message, body: bytes) -> tuple[Message, bytes]:
        place = {"sink": self._indexes.next(ServiceQueue(record.service, "sink")), "answered": time.time()}
        return record.model_copy(update=place), body

    def reindex(self, taken: IndexTaken) -> None:
        """Give a record that has no row yet a new index, because another record has its index."""
        key = taken.record.key
        data = self.bucket.find(key)
        if data is None:
            return
        record, body = decode_message(data)
        log.error("%s; it gets a new one", taken)
        self._write(self._move(record, taken.sides), body, self.index.add)

    def disown(self, queue: ServiceQueue, one: str) -> None:
        """Remove an entry whose object is no longer a record; the object is left in the bucket."""
        log.error(
            "%s is no longer a record; it is left where it is, and is in no queue", message_key(queue.service, one)
        )
        self.index.remove([one])
        self._signal_change(queue)

    def _write(self, record: Message, body: bytes, enter: Callable[[Message, int], None]) -> Message:
        """Write the record, then its row; return it as it was written, perhaps with other indexes."""
        data = encode_message(record, body)
        self.bucket.put(record.key, data)
        return self._enter(record, body, len(data), enter)

    def _enter(self, record: Message, body: bytes, size: int, enter: Callable[[Message, int], None]) -> Message:
        """Write the row of a record that is in the bucket, with another index if its own is taken."""
        for _ in range(ENTERED):
            try:
                enter(record, size)
            except StateUnavailable:
                self.index.database.ensure()  # made anew, perhaps with this record and perhaps without
            except IndexTaken as taken:
                log.error("%s; it gets a new one", taken)
                record = self._move(record, taken.sides)
                data = encode_message(record, body)
                self.bucket.put(record.key, data)
                size = len(data)
            else:
                return record
        raise StateUnavailable(f"{record.key} cannot be entered into the state; ask again")

    def _move(self, record: Message, sides: list[Side]) -> Message:
        return record.model_copy(
            update={side: self._indexes.next(ServiceQueue(record.service, side)) for side in sides}
        )

    def remove(self, queue: ServiceQueue, uuids: list[str]) -> int:
        """Remove entries from their queue for good, records first; return how many there were."""
        for start in range(0, len(uuids), REMOVED_AT_ONCE):
            some = uuids[start : start + REMOVED_AT_ONCE]
            with self._moving[queue.service]:
                for one in some:
                    self.bucket.delete(message_key(queue.service, one))
                self.index.remove(some)
        if uuids:
            self._signal_change(queue)
        return len(uuids)

    def find(self, queue: ServiceQueue, first: int, length: int, tags: Mapping[str, str], take: bool) -> list[Entry]:
        """Return entries that are not taken; with `take` no other call gets them until `put_back` or `remove`."""
        with self._moving[queue.service]:
            found = self.index.find(queue, first, length, tags, self.list_taken(queue.service))
            if take:
                self._taken[queue.service].update(one.uuid for one in found)
        return found

    def put_back(self, queue: ServiceQueue, uuids: Iterable[str]) -> None:
        """Make entries that were taken available to others again, unless they were removed."""
        with self._moving[queue.service]:
            self._taken[queue.service].difference_update(uuids)
        self.change_signals[queue].ring()

    def list_taken(self, service: str) -> frozenset[str]:
        """Return the entries that gets with auto_delete are handing out at present."""
        with self._moving[service]:
            return frozenset(self._taken[service])

    def _signal_change(self, queue: ServiceQueue) -> None:
        self.change_signals[queue].ring()
        self.wake[queue.service].set()

    def _request(self, body: bytes) -> Json:
        """Return what a record says of the request in a body, or the error that answers a body without one."""
        with self._parsing if len(body) > LARGE_BODY else contextlib.nullcontext():
            try:
                manifest = parse(body)
            except RequestError as unfit:
                identity = invalid_id(hashlib.sha256(body).hexdigest())
                return {"error": failure(identity, unfit, {"cost_time": 0.0})}
        configure = manifest.body.get("configure")
        wanted = configure.get("image_format") if isinstance(configure, dict) else None
        picture = "png" if wanted == "png" else "base64"
        return {"request_id": manifest.request_id, "sha256": manifest.sha256, "picture": picture}


def read_request(body: bytes) -> Manifest | None:
    """Return the request in a body; None if the body is no request."""
    try:
        return parse(body)
    except RequestError:
        return None
