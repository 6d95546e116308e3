"""The index of puts in SQLite: which exist, where each stands, which is next. States as in `serve/__init__.py`."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from serve.database import Database, StateUnavailable
from serve.message import Message
from shared.errors import PhotogError

Side = Literal["source", "sink"]

QUEUED, RELEASED, RUNNING, ANSWERED = "queued", "released", "running", "answered"
STATES = (QUEUED, RELEASED, RUNNING, ANSWERED)
IN_QUEUE = {"source": "source IS NOT NULL AND sink IS NULL", "sink": "sink IS NOT NULL"}


@dataclass(frozen=True)
class ServiceQueue:
    """The input queue of a service, or its sink."""

    service: str
    side: Side

    def __str__(self) -> str:
        return self.service if self.side == "source" else f"{self.service}/sink"


@dataclass(frozen=True)
class Entry:
    """A row of the index; `index` is its index in the queue that was read, `size` the bytes of the record's object."""

    uuid: str
    service: str
    index: int
    source: int | None
    state: str
    tags: dict[str, str]
    priority: int
    request_id: str | None
    sha256: str | None
    size: int
    accepted: float
    claimed: float | None
    answered: float | None
    owner: str | None


class IndexTaken(PhotogError):
    """Raised when another record has an index of this one, which needs a new one on these `sides`."""

    def __init__(self, record: Message, sides: list[Side]) -> None:
        super().__init__(f"record {record.key} has an index that another record has, as {' and '.join(sides)}")
        self.record, self.sides = record, sides


class QueueIndex:
    """The puts that a queue server knows; only `recovery` and the owners of a transition write here.

    A row follows its record: it is written after it, and it needs an update only when the record's size changes,
    because answering adds to a record. So where both sizes agree the row is right, and no record has to be read.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, record: Message, size: int) -> None:
        """Write the row of a record whose object has `size` bytes.

        Raises IndexTaken if another record has one of its indexes.
        """
        with self.database.transaction() as connection:
            if not _write(connection, record, size):
                raise IndexTaken(record, _find_taken_sides(connection, record))

    def add_all(self, records: Iterable[tuple[Message, int]]) -> list[IndexTaken]:
        """Write many rows at once; return the records whose indexes are taken."""
        taken = list[IndexTaken]()
        with self.database.transaction() as connection:
            for record, size in records:
                if not _write(connection, record, size):
                    taken.append(IndexTaken(record, _find_taken_sides(connection, record)))
        return taken

    def answer(self, record: Message, size: int) -> None:
        """Move a put to the sink; watchers of the input queue lose it. Raises IndexTaken."""
        with self.database.transaction() as connection:
            if not _write(connection, record, size):
                raise IndexTaken(record, _find_taken_sides(connection, record))
            connection.execute("DELETE FROM deliveries WHERE uuid=? AND side='source'", (record.uuid,))

    def release(self, uuid: str) -> None:
        """Note that a put's manifest is in the bucket."""
        self._move(uuid, QUEUED, RELEASED)

    def claim(self, uuid: str, owner: str, now: float) -> None:
        """Note that a worker has claimed a put."""
        values = {"uuid": uuid, "owner": owner, "now": now, "running": RUNNING, "released": RELEASED}
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE puts SET state=:running, owner=:owner, claimed=:now WHERE uuid=:uuid AND state=:released",
                values,
            )

    def remove(self, uuids: Iterable[str]) -> None:
        """Delete the rows of puts that were consumed or taken back and whose records are gone."""
        rows = [(uuid,) for uuid in uuids]
        with self.database.transaction() as connection:
            connection.executemany("DELETE FROM puts WHERE uuid=?", rows)
            connection.executemany("DELETE FROM deliveries WHERE uuid=?", rows)

    def forget(self, uuids: Iterable[str]) -> None:
        """Delete rows that are read from their records again; which watcher holds an entry is kept."""
        with self.database.transaction() as connection:
            connection.executemany("DELETE FROM puts WHERE uuid=?", [(uuid,) for uuid in uuids])

    def find(
        self, queue: ServiceQueue, first: int, length: int, tags: Mapping[str, str], hidden: Iterable[str] = ()
    ) -> list[Entry]:
        """Return entries of a queue from an index on, in order, that have all these tags, except the `hidden` ones."""
        condition, values = tag_condition(tags)
        values |= {"service": queue.service, "first": first, "length": length, "hidden": json.dumps(list(hidden))}
        rows = self.database.rows(
            f"SELECT * FROM puts WHERE service=:service AND {IN_QUEUE[queue.side]} AND {queue.side}>=:first "
            f"AND uuid NOT IN (SELECT value FROM json_each(:hidden)) {condition} ORDER BY {queue.side} LIMIT :length",
            values,
        )
        return self._entries(rows, queue.side)

    def of_tag(self, service: str, tag: str) -> Entry | None:
        """Return the put with a `requestId`, in any state, seen from the input queue."""
        rows = self.database.rows(
            "SELECT * FROM puts WHERE service=:service AND tag=:tag AND source IS NOT NULL LIMIT 1",
            {"service": service, "tag": tag},
        )
        return self._entries(rows, "source")[0] if rows else None

    def below(self, queue: ServiceQueue, index: int) -> list[str]:
        """Return the uuids of entries with smaller indexes."""
        return self._uuids(queue, f"{queue.side}<:index", {"index": index})

    def at(self, queue: ServiceQueue, indexes: Iterable[int]) -> list[str]:
        """Return the uuids of entries with these indexes, as far as they exist."""
        wanted = {"indexes": json.dumps(list(indexes))}
        return self._uuids(queue, f"{queue.side} IN (SELECT value FROM json_each(:indexes))", wanted)

    def turn(self, service: str, length: int, hidden: Iterable[str] = ()) -> list[Entry]:
        """Return the next puts: first what is no request and needs no worker, then by priority, then by index."""
        rows = self.database.rows(
            "SELECT * FROM puts WHERE service=:service AND state=:state "
            "AND uuid NOT IN (SELECT value FROM json_each(:hidden)) "
            "ORDER BY request_id IS NOT NULL, priority DESC, source LIMIT :length",
            {"service": service, "state": QUEUED, "length": length, "hidden": json.dumps(list(hidden))},
        )
        return self._entries(rows, "source")

    def under_way(self, service: str) -> list[Entry]:
        """Return the puts that are released or running."""
        rows = self.database.rows(
            "SELECT * FROM puts WHERE service=:service AND state IN (:released, :running) ORDER BY source",
            {"service": service, "released": RELEASED, "running": RUNNING},
        )
        return self._entries(rows, "source")

    def rival(self, one: Entry) -> bool:
        """Return whether an earlier put has the same request_id with another body."""
        rows = self.database.rows(
            "SELECT 1 FROM puts WHERE service=:service AND request_id=:request_id AND sha256<>:sha256 "
            "AND source<:source LIMIT 1",
            {"service": one.service, "request_id": one.request_id, "sha256": one.sha256, "source": one.source},
        )
        return bool(rows)

    def ahead(self, one: Entry) -> int:
        """Return how many puts a worker starts before this one, as things stand."""
        before = "state=:released AND source<:source"
        if one.state == QUEUED:
            before = (
                "(state=:released OR state=:queued AND (priority>:priority OR priority=:priority AND source<:source))"
            )
        rows = self.database.rows(
            f"SELECT count(*) FROM puts WHERE service=:service AND {before}",
            {"service": one.service, "released": RELEASED, "queued": QUEUED, "source": one.source}
            | {"priority": one.priority},
        )
        return int(rows[0][0])

    def states(self, service: str) -> dict[str, tuple[int, float | None]]:
        """Return for each state the number of puts and when the oldest was accepted."""
        rows = self.database.rows(
            "SELECT state, count(*), min(accepted) FROM puts WHERE service=:service AND source IS NOT NULL "
            "GROUP BY state",
            {"service": service},
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def bounds(self, queue: ServiceQueue) -> tuple[int, int, int]:
        """Return the number of entries of a queue and its first and last index; both are 0 if it is empty."""
        rows = self.database.rows(
            f"SELECT count(*), min({queue.side}), max({queue.side}) FROM puts "
            f"WHERE service=:service AND {IN_QUEUE[queue.side]}",
            {"service": queue.service},
        )
        return rows[0][0], rows[0][1] or 0, rows[0][2] or 0

    def reaches(self, queue: ServiceQueue, length: int) -> bool:
        """Return whether a queue has this many entries; they are counted only if their indexes leave it open."""
        rows = self.database.rows(
            "SELECT "
            f"(SELECT {queue.side} FROM puts WHERE service=:service AND {queue.side}>0 ORDER BY {queue.side} LIMIT 1), "
            f"(SELECT max({queue.side}) FROM puts WHERE service=:service AND {queue.side}>0)",
            {"service": queue.service},
        )
        first, last = rows[0]
        if first is None or last - first + 1 < length:
            return length <= 0
        return self.bounds(queue)[0] >= length

    def record_sizes(self, service: str) -> dict[str, int]:
        """Return for each row, by uuid, the size in bytes of the record that it was made from."""
        rows = self.database.rows("SELECT uuid, size FROM puts WHERE service=:service", {"service": service})
        return {row[0]: row[1] for row in rows}

    def _entries(self, rows: Iterable[sqlite3.Row], side: Side) -> list[Entry]:
        try:
            return [read_entry(row, side) for row in rows]
        except ValueError as error:  # a page of the file was overwritten with something that still looks like a row
            self.database.spoil(f"a row cannot be read: {error}")
            raise StateUnavailable("the state is damaged and is made anew; ask again") from error

    def _move(self, uuid: str, before: str, after: str) -> None:
        values = {"uuid": uuid, "before": before, "after": after}
        with self.database.transaction() as connection:
            connection.execute("UPDATE puts SET state=:after WHERE uuid=:uuid AND state=:before", values)

    def _uuids(self, queue: ServiceQueue, condition: str, values: Mapping[str, object]) -> list[str]:
        rows = self.database.rows(
            f"SELECT uuid FROM puts WHERE service=:service AND {IN_QUEUE[queue.side]} AND {condition}",
            {"service": queue.service, **values},
        )
        return [row[0] for row in rows]


def _write(connection: sqlite3.Connection, record: Message, size: int) -> bool:
    """Update the row from the record, but not how far a worker is; False if another row has one of its indexes."""
    values = record.model_dump(include={"uuid", "service", "source", "sink", "priority", "request_id", "sha256"})
    values |= {"tags": json.dumps(record.tags), "tag": record.tags["requestId"], "size": size}
    values |= {"accepted": record.accepted, "answered": record.answered}
    values["state"] = QUEUED if record.sink is None else ANSWERED
    values["sha256"] = None if record.error is not None else record.sha256  # a refused body takes no id
    names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
    try:
        connection.execute(
            f"INSERT INTO puts ({names}) VALUES ({places}) ON CONFLICT (uuid) DO UPDATE SET source=excluded.source, "
            "sink=excluded.sink, answered=excluded.answered, sha256=excluded.sha256, size=excluded.size, "
            f"state=iif('{ANSWERED}' IN (state, excluded.state), excluded.state, state)",
            values,
        )
    except sqlite3.IntegrityError:
        return False
    return True


def _find_taken_sides(connection: sqlite3.Connection, record: Message) -> list[Side]:
    values = {"uuid": record.uuid, "service": record.service, "source": record.source, "sink": record.sink}
    query = "SELECT 1 FROM puts WHERE service=:service AND {0}=:{0} AND uuid<>:uuid"
    sides: tuple[Side, ...] = ("source", "sink")
    return [side for side in sides if connection.execute(query.format(side), values).fetchone()]


def tag_condition(tags: Mapping[str, str]) -> tuple[str, dict[str, object]]:
    """Return the SQL condition that a put has all these tags, and its values."""
    condition, values = "", dict[str, object]()
    for number, (name, value) in enumerate(tags.items()):
        values[f"value{number}"] = value
        if name == "requestId":
            condition += f" AND tag=:value{number}"
            continue
        values[f"name{number}"] = name
        condition += " AND EXISTS (SELECT 1 FROM json_each(puts.tags) AS t WHERE "
        condition += f"t.key=:name{number} AND t.value=:value{number})"
    return condition, values


def read_entry(row: sqlite3.Row, side: Side) -> Entry:
    """Return a row as an entry of the queue on one side; raises ValueError if this server cannot have written it."""
    values = {name: row[name] for name in Entry.__dataclass_fields__ if name not in ("index", "tags")}
    tags = json.loads(row["tags"])
    if not isinstance(tags, dict) or values["state"] not in STATES:
        raise ValueError("its tags are no object, or its state is none")
    return Entry(index=row[side], tags=tags, **values)
