"""At-least-once delivery of completion events to the outside: an outbox in the bucket that no crash can lose.

    outbox/<function>/<request_id>.json    {"function", "request_id", "pending": [name], "failures": {name: count}}

| state | who moves it | how | to |
|---|---|---|---|
| no entry, no answer | the process about to answer | put the entry with all destinations pending | noted |
| noted | the same process | create `result.json` if absent | due |
| noted, and that process died | nobody: without an answer there is no event | | noted, until the next attempt |
| noted for a refusal, and that process died | any worker, after two leases | delete the entry | none |
| due | the worker that committed, at once, in a thread | send to each pending destination | delivered or due |
| due, unchanged for two searches: its worker died | any worker of the function, or a sweep | send | delivered or due |
| delivered | the process that delivered it | delete the entry | none |

The event itself is made from `result.json`, with an id made from function, request and outcome: every sender sends the
same event, and a receiver drops the ones it has seen. A destination that fails is left alone for a while that doubles,
for all events; entries that failed less often come first, so an undeliverable one does not hold up the others. An entry
is never given up: it is removed when it is delivered, or when its user is forgotten.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence

from pydantic import BaseModel, Field, ValidationError

from shared.buckets.base import Bucket, BucketError
from shared.contract import keys
from shared.contract.manifests import Json, decode, encode
from shared.events import completion_event
from shared.notify import DeliveryFailed, Destination

log = logging.getLogger(__name__)

LARGEST = 256 * 1024 * 1024  # bytes of an answer that is read back
FIRST_PAUSE = 1.0  # seconds for which a destination is left alone after a failure, doubled with each in a row
LONGEST_PAUSE = 900.0


class DamagedEntry(BucketError):
    """An entry or its answer was not written by photog; only this entry fails."""


class Entry(BaseModel):
    """An event that is not delivered to all destinations yet."""

    function: str = Field(pattern="^[a-z]+$")
    request_id: str = Field(pattern="^[A-Za-z0-9._-]{1,128}$")
    pending: list[str]
    failures: dict[str, int]


class Outbox:
    """The undelivered events of a bucket, and the destinations that this process can reach."""

    def __init__(
        self, bucket: Bucket, destinations: Sequence[Destination], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.bucket = self._bucket = bucket
        self._clock = clock
        self._destinations = {one.name: one for one in destinations}
        self._failures: dict[str, int] = {}
        self._resting: dict[str, float] = {}
        self._weights: dict[str, int] = {}

    def note(self, function: str, request_id: str) -> None:
        """Record before the commit that all destinations are to get the event."""
        entry = {"function": function, "request_id": request_id, "pending": list(self._destinations), "failures": {}}
        self._bucket.put(keys.outbox(function, request_id), encode(entry))

    def strike(self, function: str, request_id: str) -> None:
        """Remove an entry whose answer will not come."""
        self._bucket.delete(keys.outbox(function, request_id))

    def entries(self, function: str | None = None) -> dict[str, str]:
        """Return the keys of undelivered entries, with their etags."""
        prefix = f"{keys.OUTBOX}{function}/" if function else keys.OUTBOX
        return {info.key: info.etag for info in self._bucket.list(prefix)}

    def deliver(self, key: str) -> bool:
        """Send an entry's event to its pending destinations, except paused ones; returns whether this process is done.

        Raises DamagedEntry if the entry or its answer was not written by photog.
        """
        text = self._bucket.find(key, LARGEST)
        if text is None:
            return True
        try:
            entry = Entry.model_validate_json(text)
        except ValidationError as error:
            raise DamagedEntry(f"{key} is not an entry of the outbox: remove it") from error
        result_key = keys.result(entry.function, entry.request_id)
        answer = self._bucket.find(result_key, LARGEST)
        if answer is None:
            return True  # its answer is still to come, and its writer will deliver the event
        try:
            event = completion_event(entry.function, decode(answer), self._bucket.address, result_key)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedEntry(f"{result_key} is not an answer of photog's, so no event can be made from it") from error
        return self._settle(key, entry, event)

    def _settle(self, key: str, entry: "Entry", event: Json) -> bool:
        failed = dict(entry.failures)
        self._weights[key] = sum(failed.values())
        sent = {name for name in self._list_awake(entry.pending) if self._send(name, event, failed)}
        left = [name for name in entry.pending if name not in sent]
        if not left:
            self._bucket.delete(key)
            self._weights.pop(key, None)
        elif sent or failed != entry.failures:
            changed = entry.model_copy(update={"pending": left, "failures": failed})
            self._bucket.put(key, changed.model_dump_json().encode())
            self._weights[key] = sum(failed.values())
        return not set(left) & set(self._destinations)

    def weight(self, key: str) -> int:
        """Return how often this entry is known to have failed; those that failed less often come first."""
        return self._weights.get(key, 0)

    def asleep(self) -> bool:
        """Return whether all destinations are paused."""
        now = self._clock()
        return all(self._resting.get(name, now) > now for name in self._destinations)

    def rest(self) -> float:
        """Return the seconds until a failed destination may be tried again; 0 if none is paused."""
        waits = [until - self._clock() for until in self._resting.values()]
        return max(0.0, min(waits, default=0.0))

    def _list_awake(self, pending: list[str]) -> list[str]:
        now = self._clock()
        return [name for name in pending if name in self._destinations and self._resting.get(name, now) <= now]

    def _send(self, name: str, event: Json, failed: dict[str, int]) -> bool:
        try:
            self._destinations[name].send(event)
        except DeliveryFailed as error:
            row = self._failures[name] = self._failures.get(name, 0) + 1
            failed[name] = failed.get(name, 0) + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(row - 1, 16)) * random.uniform(0.5, 1)
            self._resting[name] = self._clock() + pause
            log.warning(
                "%s of %s is not delivered, next try in %.1f s: %s", event["type"], event["subject"], pause, error
            )
            return False
        self._failures.pop(name, None)
        self._resting.pop(name, None)
        return True
