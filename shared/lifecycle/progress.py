"""Publishes the progress of an attempt: `progress/<function>/<request_id>.json`."""

import logging
import time

from shared.buckets.base import Bucket, BucketError
from shared.contract import keys
from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.contract.manifests import encode, running

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0  # at most one progress object a second


class PublishProgress(AttemptHook):
    """Publishes a new stage at once, and otherwise at most once a second. A failing store is only logged."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._written = float("-inf")
        self._stage = ""

    def progressed(self, attempt: Attempt, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._stage and now - self._written < PROGRESS_SECONDS:
            return
        self._stage, self._written = progress.stage, now
        data = {
            "stage": progress.stage,
            "step": progress.step,
            "steps": progress.steps,
            "eta_seconds": progress.eta_seconds,
        } | dict(progress.figures)
        try:
            self._bucket.put(
                keys.progress(attempt.function, attempt.request_id), encode(running(attempt.request_id, data))
            )
            attempt.announced.set()
        except (BucketError, OSError) as error:
            log.warning("progress of %s could not be written: %s", attempt.request_id, error)
