"""One manifest, then exit: the program of an AWS Batch job or a Kubernetes Job."""

import logging
import time
from collections.abc import Callable
from threading import Event

from shared.events import ObjectCreated
from shared.lifecycle.claims import STALE_LEASES
from shared.lifecycle.invocation import Outcome
from shared.settings import Lease

log = logging.getLogger(__name__)

POLLS_PER_LEASE = 3
PATIENCE = 2 * STALE_LEASES  # leases within which the death of an earlier attempt is certain to show


def run_job(receive: Callable[[ObjectCreated], Outcome], key: str, lease: Lease, stop: Event) -> Outcome:
    """Serve one manifest, and wait for the claim of an earlier attempt that died, which expires after two leases.

    Returns BUSY only if another worker is alive and works on it.
    """
    until = time.monotonic() + PATIENCE * lease.seconds
    while True:
        outcome = receive(ObjectCreated(key))
        if outcome is not Outcome.BUSY or time.monotonic() > until or stop.is_set():
            return outcome
        log.info("%s is claimed, waiting to see whether its worker is alive", key)
        stop.wait(lease.seconds / POLLS_PER_LEASE)
