"""Publishes how far an attempt is: `progress/<function>/<request_id>.json`."""

import logging
import time

from shared.buckets.base import Bucket, BucketError
from shared.contract import keys
from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.contract.manifests import encode, running

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0  # at most one progress object a second


class PublishProgress(AttemptHook):
    """For one attempt: at once for a new stage and else once a second at most. A store that fails is only logged."""

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
        except (BucketError, OSError) as error:
            log.warning("no progress written for %s: %s", attempt.request_id, error)
