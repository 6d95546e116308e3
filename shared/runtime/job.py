"""One manifest, then exit: what a job of AWS Batch or a Kubernetes Job runs."""

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
PATIENCE = 2 * STALE_LEASES  # leases in which the death of an earlier attempt is certain to show


def run_job(receive: Callable[[ObjectCreated], Outcome], key: str, lease: Lease, stop: Event) -> Outcome:
    """Serve one manifest. An earlier attempt that died holds its claim for two leases yet: they are waited for.

    Returns BUSY only when somebody else is alive and at work on it.
    """
    until = time.monotonic() + PATIENCE * lease.seconds
    while True:
        outcome = receive(ObjectCreated(key))
        if outcome is not Outcome.BUSY or time.monotonic() > until or stop.is_set():
            return outcome
        log.info("%s is claimed, waiting whether its worker lives", key)
        stop.wait(lease.seconds / POLLS_PER_LEASE)
