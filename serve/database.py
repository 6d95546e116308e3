"""The SQLite file behind a queue server: an index over the bucket's records, one connection, one writer at a time.

| the file | how | to |
|---|---|---|
| absent, empty | opened | new |
| of this version and bucket, and whole | opened | in use, perhaps behind the records |
| of another version or bucket, damaged, or no file | opened | set aside as `state.sqlite.bad-<time>`, a new one made |
| in use | a query finds it damaged | the same; the caller is told to ask again |
| new, or just opened | before the first query | `fill` updates it from the bucket's records |

So the server relies only on rows that the records confirm, and damage to the file costs nothing but time.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from shared.errors import PhotogError

log = logging.getLogger(__name__)

APPLICATION = 0x70687467  # SQLite's application_id, which tells the file from those of other programs
BESIDE = ("-wal", "-shm", "-journal", "")  # ends of the names of SQLite's files; the last is that of the state itself
VERSION = 3  # of the tables below; a file of another version is made anew from the bucket
SCHEMA = """
CREATE TABLE bucket (address TEXT NOT NULL) STRICT;
CREATE TABLE puts (
    uuid TEXT PRIMARY KEY, service TEXT NOT NULL, source INTEGER, sink INTEGER,
    state TEXT NOT NULL CHECK (state IN ('queued', 'released', 'running', 'answered')),
    tag TEXT NOT NULL, tags TEXT NOT NULL CHECK (json_type(tags) = 'object'),
    priority INTEGER NOT NULL, request_id TEXT, sha256 TEXT,
    size INTEGER NOT NULL, accepted REAL NOT NULL, claimed REAL, answered REAL, owner TEXT
) STRICT;
CREATE UNIQUE INDEX by_source ON puts (service, source);
CREATE UNIQUE INDEX by_sink ON puts (service, sink);
CREATE INDEX by_request ON puts (service, request_id);
CREATE INDEX by_tag ON puts (service, tag);
CREATE INDEX by_turn ON puts (service, state, priority DESC, source);
CREATE TABLE indexes (
    service TEXT, side TEXT, reserved INTEGER NOT NULL, PRIMARY KEY (service, side)
) STRICT;
CREATE TABLE deliveries (
    uuid TEXT, side TEXT, gid TEXT, service TEXT NOT NULL, uid TEXT NOT NULL, session TEXT,
    PRIMARY KEY (uuid, side, gid)
) STRICT;
CREATE INDEX by_consumer ON deliveries (service, side, gid, uid);
CREATE TABLE groups (
    service TEXT, side TEXT, gid TEXT, position INTEGER NOT NULL, delivered INTEGER NOT NULL,
    PRIMARY KEY (service, side, gid)
) STRICT;
CREATE TABLE consumers (
    service TEXT, side TEXT, gid TEXT, uid TEXT, position INTEGER NOT NULL, seen REAL NOT NULL,
    size INTEGER NOT NULL, auto_commit INTEGER NOT NULL, session TEXT, PRIMARY KEY (service, side, gid, uid)
) STRICT;
"""


# SQLite's codes for a file that is no longer what it wrote. A full disk, another process's lock and too little memory
# are not among them, because a new file would not help. SQLITE_ERROR is: the statements here are fixed, so the tables
# must have changed.
DAMAGED = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_NOTADB,
}
MENDING_SECONDS = 10.0  # between two files that are set aside, so that they do not fill a failing disk
FILLING_SECONDS = 1.0  # between two tries to read the records
KEPT = 3  # files that were set aside and are kept


class StateInUse(PhotogError):
    """Another server uses this state; stop it, or give this one a state of its own."""


class StateUnavailable(PhotogError):
    """The state was damaged and is being made anew from the bucket; ask again in a moment."""


class _Unfit(PhotogError):
    """The file is whole but not of this version, program or bucket."""


class Database:
    """The open file. Threads may share it; `transaction` holds a lock from its beginning to the commit.

    A commit is not always synced to the disk: after a loss of power, as after a crash, rows may lag behind the bucket's
    records, which are read again at the start.

    Args:
        address: of the bucket; the state of another bucket is not used. None takes any.
    """

    def __init__(self, folder: Path, address: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._held = (folder / "lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._held.close()
            raise StateInUse(f"{folder} is used by another photog serve; one process serves a bucket") from error
        self._path, self._address = folder / "state.sqlite", address
        self._lock = threading.RLock()
        self._fill: Callable[[], None] = lambda: None
        self._filled, self._filling = True, False
        self._damage: str | None = None
        self._mend_after = self._fill_after = float("-inf")
        self._connection = self._open_or_replace()

    def fill_with(self, fill: Callable[[], None]) -> None:
        """Set the function that updates the rows from the bucket's records.

        It is called before the next query, and again after a file was lost.
        """
        self._fill, self._filled = fill, False

    def ensure(self) -> None:
        """Make the rows match the records. Raises BucketError where these cannot be read, and StateUnavailable."""
        with self._lock:
            self._ready()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other threads from reading and writing for the length of the block."""
        with self._lock:
            yield

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction; one transaction runs at a time.

        Raises StateUnavailable if the file turns out to be damaged.
        """
        with self._lock:
            self._ready()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        with contextlib.suppress(sqlite3.Error):
                            self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                self._judge(error)
                raise

    def rows(self, query: str, values: Mapping[str, object]) -> list[sqlite3.Row]:
        """Return the rows of a SELECT; a damaged file is made anew and asked again."""
        with self._lock:
            for last in (False, True):
                try:
                    self._ready()
                    return self._connection.execute(query, values).fetchall()
                except sqlite3.DatabaseError as error:
                    if not _damages(error):
                        raise
                    self.spoil(str(error))
                    if last or self._filling:
                        raise StateUnavailable(str(error)) from error
        raise AssertionError("both tries returned or raised")

    def spoil(self, reason: str) -> None:
        """Mark the file as damaged: it is set aside before the next query."""
        with self._lock:
            self._damage = reason

    def close(self) -> None:
        """Close the file and release the lock."""
        with self._lock:
            self._connection.close()
        self._held.close()

    def _judge(self, error: sqlite3.DatabaseError) -> None:
        if _damages(error):
            self.spoil(str(error))
            raise StateUnavailable(f"the state was damaged ({error}) and is made anew; ask again") from error

    def _ready(self) -> None:
        if self._filling:
            return
        now = time.monotonic()
        if self._damage is not None:
            if now < self._mend_after:
                raise StateUnavailable(f"the state is damaged again ({self._damage}); check its disk")
            self._mend_after = now + MENDING_SECONDS
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            _set_aside(self._path, self._damage)
            self._connection = self._open_or_replace()
            self._damage, self._filled = None, False
        if not self._filled:
            if now < self._fill_after:
                raise StateUnavailable("the state is being read from the bucket; ask again")
            self._filling = True
            try:
                self._fill()
                self._filled = True
            finally:
                self._filling = False
                self._fill_after = float("-inf") if self._filled else time.monotonic() + FILLING_SECONDS

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return _open(self._path, self._address)
        except (sqlite3.DatabaseError, _Unfit) as error:
            if isinstance(error, sqlite3.DatabaseError) and not _damages(error):
                raise
            _set_aside(self._path, str(error))
            return _open(self._path, self._address)


def _open(path: Path, address: str | None) -> sqlite3.Connection:
    """Open a file that is whole and of this bucket, or make one. Raises DatabaseError or _Unfit."""
    for one in (path.with_name(path.name + suffix) for suffix in BESIDE):
        if os.path.lexists(one) and not one.is_file():
            raise _Unfit(f"{one.name} is no file")
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            _create(connection, address)
        _check(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, address: str | None) -> None:
    """Create the tables, all or none: a process that dies in between leaves an empty file."""
    connection.execute("BEGIN IMMEDIATE")
    _create_tables(connection)
    connection.execute("INSERT INTO bucket VALUES (?)", (address or "",))
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA.split(";"):
        connection.execute(statement)


def _list_tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Return all that a file declares: tables, indexes, views and triggers, with their text."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
    return [tuple(row) for row in rows]


@cache
def _expected_tables() -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        _create_tables(connection)
        return _list_tables(connection)


def _check(connection: sqlite3.Connection, address: str | None) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (application, version) != (APPLICATION, VERSION):
        raise _Unfit(f"it is of another version or program ({application:#x}, {version})")
    if _list_tables(connection) != _expected_tables():
        raise _Unfit("its tables were changed")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Unfit(f"it is damaged: {found}")
    of = connection.execute("SELECT address FROM bucket").fetchone()
    if of is None or (address is not None and of[0] not in ("", address)):
        raise _Unfit("it belongs to another bucket")


def _damages(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error means that the file is no longer what was written."""
    # the module's own errors have no code, such as those about text that is not UTF-8
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in DAMAGED or code == sqlite3.SQLITE_READONLY_DBMOVED


def _set_aside(path: Path, reason: str) -> None:
    """Rename a file that cannot be used, so that its fault can be examined. Raises OSError where it cannot be moved."""
    name = f"{path.name}.bad-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09d}"
    for suffix in BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
    shown = " ".join(reason.split())
    log.error("the state %s is made anew from the bucket; the old file is kept as %s: %s", path, name, shown)
    aside = (one for one in path.parent.glob(f"{path.name}.bad-*") if not one.name.endswith(BESIDE[:-1]))
    for old in sorted(aside)[:-KEPT]:
        for suffix in BESIDE:
            _discard(old.with_name(old.name + suffix))


def _discard(path: Path) -> None:
    """Remove a file that was set aside; a folder in its place is left alone."""
    with contextlib.suppress(OSError):
        path.unlink()
