"""What a worker does between requests, so that nobody waits for it: lets go of what is gone from the bucket."""

import logging
import threading
from collections.abc import Callable
from threading import Event

from shared.buckets import BucketError, StoreUnavailable
from shared.contract.function import AttemptFailed, FunctionFailed, FunctionUnavailable
from shared.contract.hooks import AttemptHook
from shared.lifecycle.shutdown import Interrupted

log = logging.getLogger(__name__)

EVICT_SECONDS = 30.0  # a bucket is asked about a handful of keys then


class Eviction(AttemptHook):
    """Tidies up now and then in a thread of its own, never while a request is served, and until `stop` is set."""

    def __init__(self, stop: Event) -> None:
        self._stop, self._serving = stop, threading.Lock()

    def start(self, tidy: Callable[[], None]) -> None:
        """Begin to call `tidy`, which is `Invocation.tidy`."""
        threading.Thread(target=self._run, args=(tidy,), name="evict", daemon=True).start()

    def before_request(self) -> None:
        self._serving.acquire()

    def after_request(self) -> None:
        self._serving.release()

    def _run(self, tidy: Callable[[], None]) -> None:
        while not self._stop.wait(EVICT_SECONDS):
            with self._serving:
                try:
                    tidy()
                except StoreUnavailable as error:  # which the trigger tells of
                    log.debug("nothing is tidied up: %s", error)
                except (BucketError, OSError, AttemptFailed, Interrupted, FunctionFailed, FunctionUnavailable) as error:
                    log.warning("what is gone from the bucket may be kept in memory until the next look: %s", error)
