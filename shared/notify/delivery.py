"""The thread that empties the outbox, so that no endpoint ever delays a request."""

import logging
import threading
import time

from shared.buckets.base import BucketError, StoreUnavailable
from shared.contract import keys
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json
from shared.notify.outbox import Outbox
from shared.observability.failing_keys import Failures

log = logging.getLogger(__name__)

LAST_SECONDS = 10.0  # that a process shutting down still spends on deliveries


class Delivery(AttemptHook):
    """Records each event before the commit, and passes it to its thread afterwards."""

    def __init__(self, outbox: Outbox, redelivery_seconds: float) -> None:
        self._outbox, self._period = outbox, redelivery_seconds
        self._failures = Failures(outbox.bucket, keys.OUTBOX.rstrip("/"), keys.OUTBOX)
        self._due: set[str] = set()
        self._seen: dict[str, str] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def committing(self, function: str, request_id: str) -> None:
        """Record the event to come."""
        self._outbox.note(function, request_id)

    def withdrawn(self, function: str, request_id: str) -> None:
        """Remove the record of an event that will not come."""
        self._outbox.strike(function, request_id)

    def committed(self, function: str, event: Json, envelope: Json) -> None:
        """Wake the thread, which checks whether there is an entry."""
        with self._changed:
            self._due.add(keys.outbox(function, event["subject"]))
            self._changed.notify()

    def start(self, function: str) -> None:
        """Start delivering: own events at once, those of dead workers once two searches found them unchanged."""
        self._failures = Failures(self._outbox.bucket, function, f"{keys.OUTBOX}{function}/")
        self._thread = threading.Thread(target=self._run, args=(function,), name="outbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deliver what is due in the last seconds; the rest stays in the outbox for other workers."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)
            return
        until = time.monotonic() + LAST_SECONDS
        while self._due and time.monotonic() < until and self._turn():
            pass

    def _run(self, function: str) -> None:
        look = time.monotonic()
        while True:
            if not self._closing and time.monotonic() >= look:
                self._look(function)
                look = time.monotonic() + self._period
            progress = self._turn()
            with self._changed:
                if self._closing and (not self._due or not progress):
                    return
                if not self._due or not progress:
                    resting = max(self._outbox.rest(), self._failures.pause(self._period)) if len(self._failures) else 0
                    pause = max(self._outbox.rest(), resting) if self._due else self._period
                    self._changed.wait(min(max(pause, 0.05), max(0.05, look - time.monotonic())))

    def _look(self, function: str) -> None:
        """Adopt the entries that have not changed since the last search."""
        try:
            entries = self._outbox.entries(function)
        except (BucketError, OSError) as error:
            log.warning("the outbox cannot be listed: %s", error)
            return
        with self._changed:
            self._due |= {key for key, etag in entries.items() if self._seen.get(key) == etag}
        self._seen = entries
        self._failures.adopt()
        self._failures.keep(entries.keys())

    def _turn(self) -> bool:
        """Try each due entry once; returns whether any was settled."""
        with self._changed:
            due = set(self._due)
        settled = False
        for key in sorted(due, key=self._outbox.weight):
            if self._outbox.asleep():
                break
            if not self._failures.rests(key) and self._deliver(key):
                settled = True
                with self._changed:
                    self._due.discard(key)
        return settled

    def _deliver(self, key: str) -> bool:
        """Deliver one entry; whatever comes of it, the others get their turn."""
        try:
            settled = self._outbox.deliver(key)
        except StoreUnavailable as error:
            log.warning("the outbox cannot be read: %s", error)
            return False
        except Exception as error:  # noqa: BLE001 - the boundary between entries: one must never stop the others
            self._failures.add(key, error)
            return False
        self._failures.remove(key)
        return settled
