"""Publishes the progress of an attempt: `progress/<function>/<request_id>.json`."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.buckets.base import Bucket, BucketError
from shared.contract import keys
from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.contract.manifests import Json, encode, running

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0  # at most one progress object a second


class PublishProgress(AttemptHook):
    """Publishes a new stage at once, and otherwise at most once a second. A failing store is only logged.

    Args:
        beside: write in a thread of its own, so that the work does not wait for a store across a network; what was
            not written yet when the next report comes is replaced by it.
        shown: whether the attempt may be seen already; reports before that are not published.
    """

    def __init__(self, bucket: Bucket, beside: bool = False, shown: Callable[[], bool] = lambda: True) -> None:
        self._bucket, self._shown = bucket, shown
        self._written = float("-inf")
        self._stage = ""
        self._pool = ThreadPoolExecutor(1, "progress") if beside else None
        self._lock = threading.Lock()
        self._next: Json | None = None

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._stage and now - self._written < PROGRESS_SECONDS:
            return
        if not self._shown():
            return
        self._stage, self._written = progress.stage, now
        data = {
            "stage": progress.stage,
            "step": progress.step,
            "steps": progress.steps,
            "eta_seconds": progress.eta_seconds,
        } | dict(progress.figures)
        envelope = running(attempt.request_id, data)
        if self._pool is None:
            self._write(attempt, envelope)
            return
        with self._lock:
            waiting, self._next = self._next is not None, envelope
        if not waiting:
            self._pool.submit(self._write_next, attempt)

    def finished(self, attempt: Attempt) -> None:
        """Wait for the last write: none may come after the answer, whose publication deletes the progress."""
        self._end(finish=True)

    def failed(self, attempt: Attempt, reason: str) -> None:
        self._end(finish=False)

    def _end(self, finish: bool) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=not finish)

    def _write_next(self, attempt: Attempt) -> None:
        with self._lock:
            envelope, self._next = self._next, None
        if envelope is not None:
            self._write(attempt, envelope)

    def _write(self, attempt: Attempt, envelope: Json) -> None:
        try:
            self._bucket.put(keys.progress(attempt.function, attempt.request_id), encode(envelope))
            attempt.announced.set()
        except (BucketError, OSError) as error:
            log.warning("progress of %s could not be written: %s", attempt.request_id, error)
