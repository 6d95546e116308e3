"""Keeps the claim of an attempt alive while a function works, and notices when another attempt has taken over."""

import logging
import time

from shared.buckets.base import BucketError
from shared.contract.hooks import Attempt, AttemptHook
from shared.lifecycle.claims import STALE_LEASES, ClaimRecord, Claims
from shared.lifecycle.shutdown import ClaimLost
from shared.settings import Lease

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 3


class Heartbeat(AttemptHook):
    """The heartbeat of one attempt.

    Attributes:
        record: the claim as last written.
    """

    def __init__(self, claims: Claims, attempt: Attempt, record: ClaimRecord, lease: Lease) -> None:
        self._claims, self._attempt, self.record = claims, attempt, record
        self._period = lease.seconds / BEATS_PER_LEASE
        self._patience = lease.seconds * STALE_LEASES
        self._beaten = time.monotonic()

    def before(self, attempt: Attempt) -> None:
        self._beaten = time.monotonic()

    def check(self, attempt: Attempt) -> None:
        """Raise ClaimLost if another attempt has taken over.

        A process that was frozen learns here, before it writes anything, whether that happened meanwhile.
        """
        if attempt.lost.is_set() or self._overtaken():
            raise ClaimLost(f"{attempt.request_id} is answered by another attempt")

    def beat_after(self) -> float:
        return self._period

    def beat(self) -> bool:
        """Rewrite the claim. It is lost if another attempt has taken over, or the store has failed for two leases."""
        request_id = self._attempt.request_id
        try:
            beaten = self._claims.beat(request_id, self.record)
            self._beaten = time.monotonic()
        except (BucketError, OSError) as error:
            log.warning("no heartbeat for %s: %s", request_id, error)
            beaten = self.record if time.monotonic() - self._beaten < self._patience else None
        if beaten is None:
            self._attempt.lost.set()
            return False
        self.record = beaten
        return True

    def _overtaken(self) -> bool:
        """Return whether another attempt exists, or ours is erased.

        The store is asked only after a pause that is long enough for that.
        """
        silent = time.monotonic() - self._beaten >= self._patience
        return silent and self._claims.is_lost(self._attempt.request_id, self.record)
