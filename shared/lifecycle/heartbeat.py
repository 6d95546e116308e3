"""A thread that keeps a claim alive while a function works, and notices when the work has become pointless."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from shared.buckets.base import BucketError
from shared.lifecycle.claims import STALE_LEASES, ClaimRecord, Claims
from shared.lifecycle.shutdown import ClaimLost, HandedBack, Shutdown
from shared.settings import Lease

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 3


class Heartbeat:
    """Beats from `__enter__` to `__exit__`; `check` raises in the working thread when it must stop.

    Args:
        on_deadline: called in the beating thread when the request has taken longer than allowed and nobody has sealed
            it, again while the store fails; a function that hangs in native code is answered even so.
    """

    def __init__(
        self,
        claims: Claims,
        request_id: str,
        record: ClaimRecord,
        lease: Lease,
        shutdown: Shutdown,
        deadline_seconds: float,
        on_deadline: Callable[[], None],
    ) -> None:
        self._claims, self._request_id, self.record = claims, request_id, record
        self._period = lease.seconds / BEATS_PER_LEASE
        self._patience = lease.seconds * STALE_LEASES
        self._shutdown, self._on_deadline = shutdown, on_deadline
        self._deadline = time.monotonic() + deadline_seconds
        self._lost, self._done = threading.Event(), threading.Event()
        self._ending, self._sealed = threading.Lock(), False
        self._beaten = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat {request_id}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """Raise ClaimLost or HandedBack when the work must stop here.

        A process that was frozen learns here, before it writes anything, whether somebody has taken over meanwhile.
        """
        if self._lost.is_set() or self._overtaken():
            raise ClaimLost(f"{self._request_id} is answered by another attempt")
        if self._shutdown.overdue():
            raise HandedBack(f"{self._request_id} is handed back, this worker is going down")

    def _overtaken(self) -> bool:
        """Whether another attempt is there; asked only after a pause in which one may have begun."""
        silent = time.monotonic() - self._beaten >= self._patience
        return silent and self._claims.superseded(self._request_id, self.record)

    def seal(self) -> None:
        """The work is done and about to be published: no deadline any more. ClaimLost where it comes too late."""
        with self._ending:
            if self._lost.is_set():
                raise ClaimLost(f"{self._request_id} is answered by another attempt")
            self._sealed = True

    def ended(self, seconds: float) -> bool:
        """Wait so long; whether the claim was lost meanwhile, or the process has no time left."""
        return self._lost.wait(seconds) or self._shutdown.overdue()

    def _run(self) -> None:
        self._beaten = time.monotonic()
        while not self._done.wait(self._pause()):
            if self._expired():
                return
            try:
                beaten = self._claims.beat(self._request_id, self.record)
                self._beaten = time.monotonic()
            except (BucketError, OSError) as error:
                log.warning("no heartbeat for %s: %s", self._request_id, error)
                beaten = self.record if time.monotonic() - self._beaten < self._patience else None
            if beaten is None:
                self._lost.set()
                return
            self.record = beaten

    def _pause(self) -> float:
        """Seconds to the next beat, or to the deadline where that comes first."""
        left = self._deadline - time.monotonic()
        return min(self._period, left) if left > 0 else self._period

    def _expired(self) -> bool:
        """Whether the deadline has passed and is answered."""
        with self._ending:
            if self._sealed or time.monotonic() < self._deadline:
                return False
            try:
                self._on_deadline()
            except (BucketError, OSError) as error:
                log.warning("the deadline of %s is not answered yet: %s", self._request_id, error)
                return False
            self._lost.set()
        return True
