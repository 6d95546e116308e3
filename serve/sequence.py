"""The source of indexes for entries: they always increase, whatever was lost.

Indexes are taken in blocks. The end of a block is written to the bucket, at `queue/<service>.indexes.json`, before any
index of it is given out, and a server begins after the highest of three: that end, the end in the SQLite file, and the
indexes of the records. Unless it is lost, none of the three is ever below an index that was given out; so a start costs
a gap, and an index is given twice only if all three are lost. Numbers that no server reaches are not counted.
"""

import logging

from serve.database import Database, StateUnavailable
from serve.message import LARGEST_COUNTED
from serve.queue_index import ServiceQueue
from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import decode, encode

log = logging.getLogger(__name__)

BLOCK = 1000


class IndexSequence:
    """The counters of one bucket's queues."""

    def __init__(self, database: Database, bucket: Bucket) -> None:
        self._database, self._bucket = database, bucket
        self._last: dict[ServiceQueue, int] = {}
        self._end: dict[ServiceQueue, int] = {}

    def next(self, queue: ServiceQueue) -> int:
        """Return the next index of a queue."""
        # under the database's own lock: a query may find the file damaged, and making it anew may need indexes
        with self._database.alone():
            if queue not in self._last:
                begin = self._highest(queue)
                self._last[queue] = self._end[queue] = max(begin, self._end.get(queue, 0))
            if self._last[queue] >= self._end[queue]:
                self._reserve(queue)
            self._last[queue] += 1
            return self._last[queue]

    def _highest(self, queue: ServiceQueue) -> int:
        rows = self._database.rows(
            "SELECT max((SELECT coalesce(max(reserved), 0) FROM indexes WHERE service=:service AND side=:side "
            "AND reserved<=:most), "
            f"(SELECT coalesce(max({queue.side}), 0) FROM puts WHERE service=:service AND {queue.side}<=:most))",
            {"service": queue.service, "side": queue.side, "most": LARGEST_COUNTED},
        )
        return max(int(rows[0][0]), self._ends(queue.service).get(queue.side, 0))

    def _reserve(self, queue: ServiceQueue) -> None:
        end = self._end[queue] + BLOCK
        ends = self._ends(queue.service)
        self._bucket.put(_key(queue.service), encode(ends | {queue.side: end}))
        try:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO indexes VALUES (:service, :side, :end)",
                    {"service": queue.service, "side": queue.side, "end": end},
                )
        except StateUnavailable as error:  # the bucket has it
            log.warning("the end of a block of indexes is in the bucket only: %s", error)
        self._end[queue] = max(self._end[queue], end)

    def _ends(self, service: str) -> dict[str, int]:
        """Return the ends of blocks by side; anything that is not a number counts as lost."""
        try:
            text = self._bucket.find(_key(service))
            ends = {} if text is None else decode(text)
        except ValueError as error:
            log.error("%s cannot be read; indexes continue after those of the records: %s", _key(service), error)
            return {}
        if not isinstance(ends, dict):
            return {}
        return {side: end for side, end in ends.items() if type(end) is int and 0 <= end <= LARGEST_COUNTED}


def _key(service: str) -> str:
    return f"{keys.QUEUE}{service}.indexes.json"
