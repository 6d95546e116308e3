"""Brings the ledger to what the bucket's records say, after a crash or without any state at all."""

import logging

from serve.ledger import ANSWERED, Queue
from serve.record import Record, header, prefix
from serve.store import Store
from shared.buckets.base import MissingObject

log = logging.getLogger(__name__)


def recover(store: Store) -> None:
    """Rows for records without one, no rows without a record, and answered where the record says so.

    Reads the headers of records that the ledger does not know or does not take for answered; of the others, which may
    be many, the listing is enough.
    """
    for service in store.services:
        known = store.ledger.known(service)
        begin = prefix(service)
        missing, added = set(known), 0
        for info in store.bucket.list(begin):
            uuid = info.key.removeprefix(begin)
            missing.discard(uuid)
            if known.get(uuid) == ANSWERED:
                continue
            record = _record(store, info.key)
            if record is None:
                continue
            if uuid not in known:
                store.ledger.add(record, info.size)
                added += 1
            elif record.sink is not None:
                store.ledger.answer(record)
        store.ledger.remove(missing)
        if added or missing:
            log.info("%s: %d entries read from the bucket, %d were gone", Queue(service, "source"), added, len(missing))


def _record(store: Store, key: str) -> Record | None:
    try:
        return header(store.bucket, key)
    except MissingObject:
        return None
