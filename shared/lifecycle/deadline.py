"""Answers a request that takes longer than allowed, while its function works on or hangs in native code."""

import logging
import math
import threading

from shared.buckets.base import BucketError
from shared.contract.hooks import Attempt, AttemptHook
from shared.contract.manifests import failure
from shared.errors import DeadlineExceeded
from shared.lifecycle.publisher import Publisher
from shared.lifecycle.shutdown import ClaimLost

log = logging.getLogger(__name__)


class Deadline(AttemptHook):
    """Of one attempt; once the work is finished in time there is none any more.

    Args:
        seconds: how long the request may take.
        hooks: told that it was refused.
    """

    def __init__(self, attempt: Attempt, seconds: float, publisher: Publisher, hooks: AttemptHook) -> None:
        self._attempt, self._seconds, self._publisher, self._hooks = attempt, seconds, publisher, hooks
        self._ending, self._finished = threading.Lock(), False

    def beat_after(self) -> float:
        left = self._seconds - self._attempt.seconds()
        return left if left > 0 else math.inf

    def beat(self) -> bool:
        """Answer when the time is over, again with each beat while the store fails; False once that is done."""
        with self._ending:
            if self._finished or self._attempt.seconds() < self._seconds:
                return True
            try:
                self._answer()
            except (BucketError, OSError) as error:
                log.warning("the deadline of %s is not answered yet: %s", self._attempt.request_id, error)
                return True
            self._attempt.lost.set()
        return False

    def finished(self, attempt: Attempt) -> None:
        """ClaimLost where it comes too late."""
        with self._ending:
            if attempt.lost.is_set():
                raise ClaimLost(f"{attempt.request_id} is answered by another attempt")
            self._finished = True

    def _answer(self) -> None:
        error = DeadlineExceeded(f"the request took longer than the {self._seconds:.0f} s that are allowed")
        envelope = failure(self._attempt.request_id, error, {"cost_time": self._attempt.seconds()})
        self._publisher.publish(envelope, self._attempt.number)
        self._hooks.refused(type(error).__name__)
