"""Tidying between requests, so that no request waits for it: drops what is gone from the bucket."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from shared.buckets import BucketError, StoreUnavailable
from shared.contract.function import AttemptFailed, FunctionFailed, FunctionUnavailable
from shared.contract.hooks import AttemptHook
from shared.lifecycle.shutdown import Interrupted

log = logging.getLogger(__name__)

EVICT_SECONDS = 30.0  # each time, the bucket is asked about a handful of keys


class Eviction(AttemptHook):
    """Tidies up periodically in a thread of its own, until `stop` is set, but never while a request is served.

    Requests overlap, so one that begins waits while tidying is due, until the others are over and it is done.
    """

    def __init__(self, stop: Event) -> None:
        self._stop, self._turns = stop, threading.Condition()
        self._serving, self._tidying = 0, False

    def start(self, tidy: Callable[[], None]) -> None:
        """Start calling `tidy`, which is `Invocation.tidy`."""
        threading.Thread(target=self._run, args=(tidy,), name="evict", daemon=True).start()

    def before_request(self) -> None:
        with self._turns:
            self._turns.wait_for(lambda: not self._tidying)
            self._serving += 1

    def after_request(self) -> None:
        with self._turns:
            self._serving -= 1
            self._turns.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep requests from beginning, and wait for those that are served."""
        with self._turns:
            self._tidying = True
            self._turns.wait_for(lambda: not self._serving)
        try:
            yield
        finally:
            with self._turns:
                self._tidying = False
                self._turns.notify_all()

    def _run(self, tidy: Callable[[], None]) -> None:
        while not self._stop.wait(EVICT_SECONDS):
            with self._alone():
                try:
                    tidy()
                except StoreUnavailable as error:  # reported by the trigger
                    log.debug("tidying is skipped: %s", error)
                except (BucketError, OSError, AttemptFailed, Interrupted, FunctionFailed, FunctionUnavailable) as error:
                    if self._stop.is_set():
                        return  # the worker ends, and with it everything in its memory
                    log.warning("tidying failed, so deleted data may stay in memory a while longer: %s", error)
                except Exception:  # the boundary of a thread: without it, deleted data would stay in memory for ever
                    log.exception("tidying failed, so deleted data may stay in memory a while longer")
