"""The SQLite file behind a queue server: an index over the bucket's records, one connection, one writer at a time."""

import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS puts (
    uuid TEXT PRIMARY KEY, service TEXT NOT NULL, source INTEGER, sink INTEGER, state TEXT NOT NULL,
    tag TEXT NOT NULL, tags TEXT NOT NULL, priority INTEGER NOT NULL, request_id TEXT, sha256 TEXT,
    size INTEGER NOT NULL, accepted REAL NOT NULL, claimed REAL, answered REAL, owner TEXT
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS by_source ON puts (service, source);
CREATE UNIQUE INDEX IF NOT EXISTS by_sink ON puts (service, sink);
CREATE INDEX IF NOT EXISTS by_request ON puts (service, request_id);
CREATE INDEX IF NOT EXISTS by_tag ON puts (service, tag);
CREATE INDEX IF NOT EXISTS by_turn ON puts (service, state, priority DESC, source);
CREATE TABLE IF NOT EXISTS indexes (
    service TEXT, side TEXT, last INTEGER NOT NULL, reserved INTEGER NOT NULL, PRIMARY KEY (service, side)
) STRICT;
CREATE TABLE IF NOT EXISTS deliveries (
    uuid TEXT, side TEXT, gid TEXT, service TEXT NOT NULL, uid TEXT NOT NULL, session TEXT,
    PRIMARY KEY (uuid, side, gid)
) STRICT;
CREATE INDEX IF NOT EXISTS by_consumer ON deliveries (service, side, gid, uid);
CREATE TABLE IF NOT EXISTS groups (
    service TEXT, side TEXT, gid TEXT, position INTEGER NOT NULL, delivered INTEGER NOT NULL,
    PRIMARY KEY (service, side, gid)
) STRICT;
CREATE TABLE IF NOT EXISTS consumers (
    service TEXT, side TEXT, gid TEXT, uid TEXT, position INTEGER NOT NULL, seen REAL NOT NULL,
    size INTEGER NOT NULL, auto_commit INTEGER NOT NULL, session TEXT, PRIMARY KEY (service, side, gid, uid)
) STRICT;
"""


class StateInUse(Exception):
    """Another server works on this state; stop it, or give this one a state of its own."""


class Database:
    """The open file. Safe between threads; `transaction` holds a lock from beginning to commit.

    A commit is not synced to the disk each time: after a loss of power rows may lag behind the bucket's records, as
    they may after a crash, and the start reads these again.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._held = (folder / "lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._held.close()
            raise StateInUse(f"{folder} is used by another photog serve; one process serves a bucket") from error
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(folder / "state.sqlite", check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, values: Mapping[str, object]) -> list[sqlite3.Row]:
        """What a SELECT finds."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file and let another server have it."""
        with self._lock:
            self._connection.close()
        self._held.close()
