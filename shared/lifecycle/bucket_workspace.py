"""A function's workspace on a bucket, for one attempt at one request."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.hooks import Attempt, AttemptHook, Progress
from shared.errors import PhotoError
from shared.lifecycle.prefetched_photos import TakenPhotos
from shared.lifecycle.ready_request import LookedUp
from shared.lifecycle.trainings import Trainings
from shared.lifecycle.uploads import Uploads

if TYPE_CHECKING:
    from shared.photos import PhotoFetcher


class BucketWorkspace:
    """Implements `shared.contract.workspace.Workspace`; artifacts are stored below the attempt's own prefix.

    Args:
        hooks: `check` is called at every progress report and every artifact, `progressed` at every report.
        trainings: used to restore a user's model that is requested and missing.
        uploads: writes the artifacts, perhaps after `save` has returned; None writes them at once.
        looked_up: what was looked up ahead for this attempt.
        confirm: called before the first artifact; raises what ends the attempt.
    """

    def __init__(
        self,
        bucket: Bucket,
        attempt: Attempt,
        fetcher: "PhotoFetcher | TakenPhotos",
        hooks: AttemptHook,
        trainings: Trainings | None = None,
        uploads: Uploads | None = None,
        looked_up: LookedUp | None = None,
        confirm: Callable[[], None] = lambda: None,
    ) -> None:
        self.request_id, self.attempt = attempt.request_id, attempt.number
        self._trainings, self._confirm = trainings, confirm
        self._looked_up = looked_up or LookedUp()
        self._uploads = uploads or Uploads(bucket, self.check, beside=False)
        self._bucket, self._fetcher, self._hooks, self._attempt = bucket, fetcher, hooks, attempt
        self._prefix, *self._earlier = (
            keys.artifacts(attempt.function, attempt.request_id, number) for number in range(attempt.number, 0, -1)
        )

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """Return the bytes of each picture, or why it cannot be fetched."""
        fetched = self._fetcher.fetch(references)
        self._attempt.meter.read += sum(len(one) for one in fetched if isinstance(one, bytes))
        return fetched

    def read(self, key: str) -> bytes | None:
        """Return an object of the bucket; None if it does not exist."""
        ahead = self._looked_up.take("read", key)
        found = ahead if isinstance(ahead, bytes) else self._bucket.find(key)
        self._attempt.meter.read += len(found or b"")
        return found

    def etag(self, key: str) -> str | None:
        """Return the object's etag; None if it does not exist."""
        if isinstance(ahead := self._looked_up.take("etag", key), str):
            return ahead
        info = self._bucket.head(key)
        return None if info is None else info.etag

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes; None if it does not exist."""
        if isinstance(ahead := self._looked_up.take("size", key), int):
            return ahead
        info = self._bucket.head(key)
        if info is None and self._trainings is not None and self._trainings.restore(key):
            info = self._bucket.head(key)
        return None if info is None else info.size

    def check(self) -> None:
        """Raise Interrupted if the work must stop."""
        self._hooks.check(self._attempt)

    def save(self, name: str, data: bytes) -> str:
        """Save an artifact of this attempt and return its key; it is there before the answer is."""
        self.check()
        self._confirm()
        self._attempt.meter.saved[name] = len(data)
        self._uploads.add(self._prefix + name, data)
        return self._prefix + name

    def previous(self, name: str) -> bytes | None:
        """Return what the latest earlier attempt saved under `name`; all attempts' artifacts stay until the answer."""
        found = (self.read(prefix + name) for prefix in self._earlier)
        return next((data for data in found if data is not None), None)

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Report progress."""
        self.check()
        self._hooks.progressed(self._attempt, Progress(stage, step, steps, eta_seconds, figures))
