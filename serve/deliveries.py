"""The watchers, and the entries that each of them holds uncommitted.

| state of an entry, for one group | how | to |
|---|---|---|
| - | handed to a consumer whose window has room | pending |
| pending | its consumer's connection ends, or the same consumer connects again | - |
| pending, from before the server's start | its consumer comes back | - |
| pending, from before the server's start | `reconnect_seconds` pass | - |
| pending | commit | the entry leaves the queue, for all groups |

Consumers of one group share a queue's entries; every group gets all of them until one commits.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serve.database import Database
from serve.queue_index import IN_QUEUE, Entry, ServiceQueue, read_entry, tag_condition
from shared.errors import PhotogError

WORKER_SECONDS = 3600.0  # a worker counts as a consumer for this long after its last claim; the product's keepalive


@dataclass(frozen=True)
class Consumer:
    """A watcher, or a worker that has claimed a request.

    Attributes:
        session: id of its connection; None for a worker.
        pending: number of entries that it holds.
    """

    gid: str
    uid: str
    position: int
    seen: float
    size: int
    auto_commit: bool
    pending: int
    session: str | None = None


@dataclass(frozen=True)
class Group:
    """A group of consumers.

    Attributes:
        position: the last index that was handed out.
        delivered: number of entries that were ever handed out.
        pending: number of entries that are handed out and not committed.
        consumers: number of consumers at present.
    """

    gid: str
    position: int
    delivered: int
    pending: int
    consumers: int


class UnknownSession(PhotogError):
    """Raised for a connection that the state does not know; the consumer must watch again."""


class Deliveries:
    """Consumers, groups and windows. Only the connections themselves live outside the file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self) -> None:
        """Forget all connections at the start; entries that were pending wait for their consumers."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM consumers WHERE session IS NOT NULL")
            connection.execute("UPDATE deliveries SET session=NULL")

    def give_up(self) -> None:
        """Stop waiting for consumers that have not come back since the start."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM deliveries WHERE session IS NULL")

    def connect(self, queue: ServiceQueue, gid: str, uid: str, session: str, window: int, auto_commit: bool) -> None:
        """Register a consumer that watches.

        It supersedes an earlier connection of the same consumer, whose entries are handed out anew.
        """
        values = _values(queue, gid, uid) | {"session": session, "size": window, "auto_commit": int(auto_commit)}
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM deliveries WHERE service=:service AND side=:side AND gid=:gid AND uid=:uid", values
            )
            connection.execute(
                "INSERT OR REPLACE INTO consumers VALUES "
                "(:service, :side, :gid, :uid, 0, :now, :size, :auto_commit, :session)",
                values,
            )
            connection.execute("INSERT OR IGNORE INTO groups VALUES (:service, :side, :gid, 0, 0)", values)

    def disconnect(self, session: str) -> None:
        """Forget a connection that has ended; what its consumer did not commit goes to others."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM deliveries WHERE session=?", (session,))
            connection.execute("DELETE FROM consumers WHERE session=?", (session,))

    def hand_out(
        self,
        queue: ServiceQueue,
        gid: str,
        uid: str,
        session: str,
        first: int,
        tags: Mapping[str, str],
        hidden: Iterable[str],
    ) -> Entry | None:
        """Return the next entry for a consumer, pending from now on; None if there is none or the window is full.

        Raises UnknownSession where the state has no row of the consumer's connection.
        """
        condition, values = tag_condition(tags)
        values |= _values(queue, gid, uid) | {"session": session, "first": first, "hidden": json.dumps(list(hidden))}
        with self._database.transaction() as connection:
            room = connection.execute(
                "SELECT size > (SELECT count(*) FROM deliveries WHERE session=:session) FROM consumers "
                "WHERE session=:session",
                values,
            ).fetchone()
            if room is None:
                raise UnknownSession("the state was made anew since this connection began")
            if not room[0]:
                return None
            row = connection.execute(
                f"SELECT * FROM puts WHERE service=:service AND {IN_QUEUE[queue.side]} AND {queue.side}>=:first "
                "AND uuid NOT IN (SELECT value FROM json_each(:hidden)) AND NOT EXISTS (SELECT 1 FROM deliveries AS d "
                f"WHERE d.uuid=puts.uuid AND d.side=:side AND d.gid=:gid) {condition} ORDER BY {queue.side} LIMIT 1",
                values,
            ).fetchone()
            if row is None:
                return None
            found = read_entry(row, queue.side)
            values |= {"uuid": found.uuid, "position": found.index}
            connection.execute("INSERT INTO deliveries VALUES (:uuid, :side, :gid, :service, :uid, :session)", values)
            _advance(connection, values)
        return found

    def claim(self, queue: ServiceQueue, owner: str, index: int) -> None:
        """Note that a worker has claimed an entry of an input queue; workers form a group named like the service."""
        values = _values(queue, queue.service, owner) | {"position": index}
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO groups VALUES (:service, :side, :gid, 0, 0)", values)
            connection.execute(
                "INSERT OR IGNORE INTO consumers VALUES (:service, :side, :gid, :uid, 0, :now, 1, 0, NULL)", values
            )
            _advance(connection, values)

    def holder(self, queue: ServiceQueue, uuid: str) -> str | None:
        """Return the watcher that holds an entry; None if nobody does."""
        rows = self._database.rows(
            "SELECT gid, uid FROM deliveries WHERE uuid=:uuid AND side=:side LIMIT 1",
            {"uuid": uuid, "side": queue.side},
        )
        return f"{rows[0][0]}.{rows[0][1]}" if rows else None

    def consumers(self, queue: ServiceQueue) -> list[Consumer]:
        """Return the present watchers, and the workers that have claimed something lately."""
        rows = self._database.rows(
            "SELECT c.*, (SELECT count(*) FROM deliveries AS d WHERE d.session=c.session) + (SELECT count(*) FROM puts "
            "AS p WHERE c.session IS NULL AND p.service=c.service AND p.state='running' AND p.owner=c.uid) AS pending "
            "FROM consumers AS c WHERE service=:service AND side=:side AND (session IS NOT NULL OR seen>:since) "
            "ORDER BY gid, uid",
            {"service": queue.service, "side": queue.side, "since": time.time() - WORKER_SECONDS},
        )
        names = Consumer.__dataclass_fields__
        return [Consumer(**{name: row[name] for name in names}) for row in rows]

    def groups(self, queue: ServiceQueue) -> list[Group]:
        """Return all groups that have had entries of this queue."""
        present = self.consumers(queue)
        rows = self._database.rows(
            "SELECT g.*, (SELECT count(*) FROM deliveries AS d WHERE d.service=g.service AND d.side=g.side "
            "AND d.gid=g.gid) AS pending FROM groups AS g WHERE service=:service AND side=:side ORDER BY gid",
            {"service": queue.service, "side": queue.side},
        )
        found = []
        for row in rows:
            mine = [one for one in present if one.gid == row["gid"]]
            pending = row["pending"] + sum(one.pending for one in mine if one.session is None)
            found.append(Group(row["gid"], row["position"], row["delivered"], pending, len(mine)))
        return found


def _values(queue: ServiceQueue, gid: str, uid: str) -> dict[str, object]:
    return {"service": queue.service, "side": queue.side, "gid": gid, "uid": uid, "now": time.time()}


def _advance(connection: sqlite3.Connection, values: dict[str, object]) -> None:
    connection.execute(
        "UPDATE groups SET position=max(position, :position), delivered=delivered+1 "
        "WHERE service=:service AND side=:side AND gid=:gid",
        values,
    )
    connection.execute(
        "UPDATE consumers SET position=:position, seen=:now "
        "WHERE service=:service AND side=:side AND gid=:gid AND uid=:uid",
        values,
    )
