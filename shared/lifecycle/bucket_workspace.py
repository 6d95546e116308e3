"""The workspace of a function over a bucket, for one attempt at one request."""

from collections.abc import Sequence

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.errors import PhotoError
from shared.lifecycle.trainings import Trainings
from shared.photos import PhotoFetcher


class BucketWorkspace:
    """Implements `shared.contract.workspace.Workspace`; artifacts lie below the attempt's own prefix.

    Args:
        hooks: checked at every report of progress and every artifact, and told of every report.
        trainings: make a user's model again that is asked for and missing.
    """

    def __init__(
        self,
        bucket: Bucket,
        attempt: Attempt,
        fetcher: PhotoFetcher,
        hooks: AttemptHook,
        trainings: Trainings | None = None,
    ) -> None:
        self.request_id, self.attempt = attempt.request_id, attempt.number
        self._trainings = trainings
        self._bucket, self._fetcher, self._hooks, self._attempt = bucket, fetcher, hooks, attempt
        self._prefix, *self._earlier = (
            keys.artifacts(attempt.function, attempt.request_id, number) for number in range(attempt.number, 0, -1)
        )

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """The bytes of each picture, or why they cannot be had."""
        return self._fetcher.fetch(references)

    def read(self, key: str) -> bytes | None:
        """An object of the bucket; None where there is none."""
        return self._bucket.find(key)

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
        self._hooks.check(self._attempt)

    def save(self, name: str, data: bytes) -> str:
        """Keep an artifact of this attempt; its key."""
        self.check()
        self._bucket.put(self._prefix + name, data)
        self.check()  # who slept over it may have written into another's answer
        return self._prefix + name

    def previous(self, name: str) -> bytes | None:
        """What an earlier attempt saved under `name`, the newest one's; their artifacts stay until the answer."""
        found = (self.read(prefix + name) for prefix in self._earlier)
        return next((data for data in found if data is not None), None)

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Say how far the work is."""
        self.check()
        self._hooks.progressed(self._attempt, Progress(stage, step, steps, eta_seconds, figures))
