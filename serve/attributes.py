"""The answers of `attributes()` and `search()`, with the keys of the hosted product's samples."""

import hashlib
import time

from serve.durations import format_duration
from serve.queue_index import RUNNING, Entry, ServiceQueue
from serve.store import Store
from shared.contract.manifests import Json

GROUP_HEADER, USER_HEADER = "X-EAS-QueueService-Gid", "X-EAS-QueueService-Uid"
PRIORITY_HEADER = "X-EAS-QueueService-Priority"


def entry_attributes(store: Store, queue: ServiceQueue, payload_bytes: int) -> dict[str, str]:
    """Return the attributes of a queue; every value is a string."""
    length, first, last = store.index.bounds(queue)
    consumers, now = store.deliveries.consumers(queue), time.time()
    attributes = {
        "meta.header.group": GROUP_HEADER,
        "meta.header.priority": PRIORITY_HEADER,
        "meta.header.user": USER_HEADER,
        "meta.name": _name(store, queue),
        "meta.state": "Normal" if length < store.longest_queue else "Full",
        "stream.approxMaxLength": str(store.longest_queue),
        "stream.firstEntry": str(first),
        "stream.lastEntry": str(last),
        "stream.length": str(length),
        "stream.maxPayloadBytes": str(payload_bytes),
        "consumers.stats.total": str(len(consumers)),
        "consumers.status.total": str(len(consumers)),
    }
    for number, one in enumerate(consumers):
        attributes[f"consumers.list.[{number}]"] = (
            f"Id: {one.gid}.{one.uid}, Index: {one.position}, Pending: {one.pending}, Status: Running, "
            f"Idle: {format_duration(now - one.seen)}, Window: {one.size}, Slots: {max(0, one.size - one.pending)}, "
            f"AutoCommit: {str(bool(one.auto_commit)).lower()}"
        )
    for number, group in enumerate(store.deliveries.groups(queue)):
        attributes[f"groups.list.[{number}]"] = (
            f"Id: {group.gid}, Index: {group.position}, Pending: {group.pending}, Delivered: {group.delivered}, "
            f"Consumers: {group.consumers}"
        )
    return dict(sorted(attributes.items()))


def describe_position(store: Store, queue: ServiceQueue, one: Entry) -> Json:
    """Return where an entry stands: who works on it or holds it, or how many come before it."""
    holder = store.deliveries.holder(queue, one.uuid)
    if queue.side == "source" and one.state == RUNNING:
        holder = f"{one.service}.{one.owner}"
    if holder is not None:
        return {"ConsumerId": holder, "IsPending": True, "WaitCount": 0}
    ahead = store.index.ahead(one) if queue.side == "source" else len(store.index.below(queue, one.index))
    return {"ConsumerId": "", "IsPending": False, "WaitCount": ahead}


def _name(store: Store, queue: ServiceQueue) -> str:
    """Return a name like the hosted `photog-check-queue-95e006df`; the last part identifies the bucket."""
    digest = hashlib.sha256(store.bucket.address.encode()).hexdigest()[:8]
    kind = "queue" if queue.side == "source" else "sink"
    return f"{queue.service.replace('_', '-')}-{kind}-{digest}"
