"""Who gives entries their indexes: ever higher ones, also after the SQLite file was lost.

Indexes are taken in blocks. The end of a block stands in the bucket, at `queue/<service>.indexes.json`, before any of
it is given out; a server that finds no counter begins after it. A lost state costs a gap, never an index given twice.
"""

import threading

from serve.database import Database
from serve.ledger import Queue
from shared.buckets.base import Bucket, MissingObject
from shared.manifests import Json, decode, encode

BLOCK = 1000


class Indexes:
    """The counters of one bucket's queues."""

    def __init__(self, database: Database, bucket: Bucket) -> None:
        self._database, self._bucket = database, bucket
        self._lock = threading.Lock()

    def next(self, queue: Queue) -> int:
        """The next index of a queue."""
        with self._lock:
            last, reserved = self._counter(queue)
            if last >= reserved:
                reserved = last + BLOCK
                ends = self._ends(queue.service)
                self._bucket.put(_key(queue.service), encode(ends | {queue.side: reserved}))
            self._write(queue, last + 1, reserved)
            return last + 1

    def _counter(self, queue: Queue) -> tuple[int, int]:
        rows = self._database.rows(
            "SELECT last, reserved FROM indexes WHERE service=:service AND side=:side",
            {"service": queue.service, "side": queue.side},
        )
        end = 0 if rows else self._ends(queue.service).get(queue.side, 0)
        return (rows[0][0], rows[0][1]) if rows else (end, end)

    def _ends(self, service: str) -> Json:
        try:
            return decode(self._bucket.get(_key(service)))
        except MissingObject:
            return {}

    def _write(self, queue: Queue, last: int, reserved: int) -> None:
        values = {"service": queue.service, "side": queue.side, "last": last, "reserved": reserved}
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO indexes VALUES (:service, :side, :last, :reserved)", values)


def _key(service: str) -> str:
    return f"queue/{service}.indexes.json"
