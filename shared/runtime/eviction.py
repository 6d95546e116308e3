"""Tidying between requests, so that no request waits for it: drops what is gone from the bucket."""

import logging
import threading
from collections.abc import Callable
from threading import Event

from shared.buckets import BucketError, StoreUnavailable
from shared.contract.function import AttemptFailed, FunctionFailed, FunctionUnavailable
from shared.contract.hooks import AttemptHook
from shared.lifecycle.shutdown import Interrupted

log = logging.getLogger(__name__)

EVICT_SECONDS = 30.0  # each time, the bucket is asked about a handful of keys


class Eviction(AttemptHook):
    """Tidies up periodically in a thread of its own, until `stop` is set, but never while a request is served."""

    def __init__(self, stop: Event) -> None:
        self._stop, self._serving = stop, threading.Lock()

    def start(self, tidy: Callable[[], None]) -> None:
        """Start calling `tidy`, which is `Invocation.tidy`."""
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
                except StoreUnavailable as error:  # reported by the trigger
                    log.debug("tidying is skipped: %s", error)
                except (BucketError, OSError, AttemptFailed, Interrupted, FunctionFailed, FunctionUnavailable) as error:
                    log.warning("tidying failed, so deleted data may stay in memory a while longer: %s", error)
                except Exception:  # the boundary of a thread: without it, deleted data would stay in memory for ever
                    log.exception("tidying failed, so deleted data may stay in memory a while longer")
