"""The artifacts of one attempt on their way into the bucket, beside the work; its answer waits for all of them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from shared.buckets.base import Bucket, BucketError

MOST_BYTES = 64 * 1024 * 1024  # waiting at once; with more, the work waits


class Uploads:
    """Writes artifacts in their order; whoever adds one need not wait for it.

    Args:
        check: called after each upload that somebody waits for; raises Interrupted if the attempt is lost.
        beside: use a thread, which pays where a call crosses a network.
    """

    def __init__(self, bucket: Bucket, check: Callable[[], None], beside: bool) -> None:
        self._bucket, self._check, self._beside = bucket, check, beside
        self._pool = ThreadPoolExecutor(1, "uploads")
        self._begun: list[tuple[str, bytes, Future[None]]] = []

    def __enter__(self) -> "Uploads":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is not uploaded yet: nothing is written for an attempt that is over."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, key: str, data: bytes) -> None:
        """Upload an artifact; raises the error of this one or of an earlier one."""
        if not self._beside:
            self._bucket.put(key, data)
            self._check()  # a process that was frozen during the put may have written into another attempt's answer
            return
        self._begun = [one for one in self._begun if not one[2].done() or one[2].exception() is not None]
        if any(future.done() for _, _, future in self._begun) or self._waiting() + len(data) > MOST_BYTES:
            self.finish()
        self._begun.append((key, data, self._pool.submit(self._bucket.put, key, data)))

    def finish(self) -> None:
        """Wait until everything is uploaded; what failed is tried once more, and raises its error then."""
        while self._begun:
            key, data, future = self._begun[0]
            if isinstance(future.exception(), BucketError | OSError):
                self._bucket.put(key, data)
            else:
                future.result()
            self._begun.pop(0)
            self._check()

    def _waiting(self) -> int:
        return sum(len(data) for _, data, _ in self._begun)
