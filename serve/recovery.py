"""Updates the index from the bucket's records: after any start, a crash, a loss of power, a lost state.

| what is found | what is done |
|---|---|
| a row without a record | the row is deleted |
| a record without a row, or of another size than its row says | it is read, and the row is written from it |
| a record with the index of another one | it gets a new index, in the order of acceptance |
| an object that is not the record of its key | it is left alone and logged once |
"""

import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from serve.message import Message, NotAMessage, prefix, read_header
from serve.queue_index import IndexTaken
from serve.store import Store
from shared.buckets.base import MissingObject

log = logging.getLogger(__name__)

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
READERS = 8  # headers read at once; each takes tens of milliseconds from a distant store
AT_ONCE = 1000  # records per transaction
SHOWN = 5  # foreign objects named in the log


class Recovery:
    """Reads the records of all services; it may run again whenever the index was lost."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: set[str] = set()

    def run(self) -> None:
        """Update the index once. Raises BucketError where the bucket cannot be listed or read."""
        for service in self._store.services:
            self._service(service)

    def _service(self, service: str) -> None:
        known, index = self._store.index.record_sizes(service), self._store.index
        sizes, foreign = dict[str, int](), dict[str, str]()
        begin = prefix(service)
        for info in self._store.bucket.list(begin):
            name = info.key.removeprefix(begin)
            if UUID.fullmatch(name):
                sizes[name] = info.size
            else:
                foreign[info.key] = "its name is no uuid"
        gone = known.keys() - sizes.keys()
        changed = [uuid for uuid, size in sizes.items() if known.get(uuid) != size]
        index.remove(gone)
        index.forget(uuid for uuid in changed if uuid in known)
        taken = self._read([begin + uuid for uuid in changed], sizes, foreign)
        for one in sorted(taken, key=lambda one: (one.record.accepted, one.record.uuid)):
            self._store.reindex(one)
        if changed or gone:
            log.info("%s: %d entries read from the bucket, %d were gone", service, len(changed), len(gone))
        self._tell(service, foreign)

    def _read(self, keys: list[str], sizes: dict[str, int], foreign: dict[str, str]) -> list[IndexTaken]:
        """Write the rows of the records at these keys; return those that need a new index, put what is no record into
        `foreign`.
        """
        taken = list[IndexTaken]()
        with ThreadPoolExecutor(READERS, "recovery") as pool:
            for some in _batches(keys):
                rows = []
                for key, found in zip(some, pool.map(self._record, some), strict=True):
                    if isinstance(found, Message):
                        rows.append((found, sizes[found.uuid]))
                    elif found is not None:
                        foreign[key] = found
                taken += self._store.index.add_all(rows)
        return taken

    def _record(self, key: str) -> Message | str | None:
        """Return the record, or a text that says what is wrong with it, or None if it is gone by now."""
        try:
            return read_header(self._store.bucket, key)
        except MissingObject:
            return None
        except (NotAMessage, OSError) as error:
            return str(error)

    def _tell(self, service: str, foreign: dict[str, str]) -> None:
        new = {key: reason for key, reason in foreign.items() if key not in self._told}
        self._told.update(new)
        if new:
            some = [f"{key!a} ({reason})" for key, reason in itertools.islice(new.items(), SHOWN)]
            more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
            log.warning("%s: left alone, because they are no records: %s%s", prefix(service), ", ".join(some), more)


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while some := list(itertools.islice(left, AT_ONCE)):
        yield some
