"""One attempt at one request: the workspace that a function works in, over a bucket."""

import logging
import time
from collections.abc import Callable, Sequence

from shared.buckets.base import Bucket, BucketError, MissingObject
from shared.contract import keys
from shared.contract.manifests import encode, running
from shared.errors import PhotoError
from shared.lifecycle.trainings import Trainings
from shared.photos import PhotoFetcher

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0  # at most one progress object a second


class Attempt:
    """Implements `shared.contract.workspace.Workspace`; artifacts lie below the attempt's own prefix.

    Args:
        check: raises when the work must stop; called at every report of progress and every artifact.
        entered: called with each stage that begins.
        trainings: make a user's model again that is asked for and missing.
    """

    def __init__(
        self,
        bucket: Bucket,
        function: str,
        request_id: str,
        attempt: int,
        fetcher: PhotoFetcher,
        check: Callable[[], None],
        entered: Callable[[str], None] = lambda stage: None,
        trainings: Trainings | None = None,
    ) -> None:
        self.request_id, self.attempt = request_id, attempt
        self.prefix = keys.artifacts(function, request_id, attempt)
        self._earlier = [keys.artifacts(function, request_id, number) for number in range(attempt - 1, 0, -1)]
        self._bucket, self._fetcher, self._check = bucket, fetcher, check
        self._entered, self._trainings = entered, trainings
        self._progress_key = keys.progress(function, request_id)
        self._said = float("-inf")
        self._stage = ""

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """The bytes of each picture, or why they cannot be had."""
        return self._fetcher.fetch(references)

    def read(self, key: str) -> bytes | None:
        """An object of the bucket; None where there is none."""
        try:
            return self._bucket.get(key)
        except MissingObject:
            return None

    def etag(self, key: str) -> str | None:
        """What changes whenever the object does; None where there is none."""
        info = self._bucket.head(key)
        return None if info is None else info.etag

    def size(self, key: str) -> int | None:
        """The object's size in bytes; None where there is none."""
        info = self._bucket.head(key)
        if info is None and self._trainings is not None and self._trainings.restore(key):
            info = self._bucket.head(key)
        return None if info is None else info.size

    def check(self) -> None:
        """Raise Interrupted when the work must stop."""
        self._check()

    def save(self, name: str, data: bytes) -> str:
        """Keep an artifact of this attempt; its key."""
        self._check()
        self._bucket.put(self.prefix + name, data)
        self._check()  # who slept over it may have written into another's answer
        return self.prefix + name

    def previous(self, name: str) -> bytes | None:
        """What an earlier attempt saved under `name`, the newest one's; their artifacts stay until the answer."""
        found = (self.read(prefix + name) for prefix in self._earlier)
        return next((data for data in found if data is not None), None)

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Publish how far the work is, at once for a new stage and else once a second at most."""
        self._check()
        now = time.monotonic()
        if stage == self._stage and now - self._said < PROGRESS_SECONDS:
            return
        if stage != self._stage:
            self._entered(stage)
        self._stage, self._said = stage, now
        data = {"stage": stage, "step": step, "steps": steps, "eta_seconds": eta_seconds} | figures
        try:
            self._bucket.put(self._progress_key, encode(running(self.request_id, data)))
        except (BucketError, OSError) as error:
            log.warning("no progress written for %s: %s", self.request_id, error)
