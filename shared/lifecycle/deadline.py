"""Answers a request that takes longer than allowed, even while its function is busy or hangs in native code."""

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
    """The deadline of one attempt; it is lifted once the work is finished in time.

    Args:
        seconds: how long the request may take.
        hooks: `refused` is called if the deadline is answered.
    """

    def __init__(self, attempt: Attempt, seconds: float, publisher: Publisher, hooks: AttemptHook) -> None:
        self._attempt, self._seconds, self._publisher, self._hooks = attempt, seconds, publisher, hooks
        self._ending, self._finished = threading.Lock(), False

    def beat_after(self) -> float:
        left = self._seconds - self._attempt.seconds()
        return left if left > 0 else math.inf

    def beat(self) -> bool:
        """Answer when the time is over; retry at each beat while the store fails. False once the answer is written."""
        with self._ending:
            if self._finished or self._attempt.seconds() < self._seconds:
                return True
            try:
                self._answer()
            except (BucketError, OSError) as error:
                log.warning("%s is past its deadline, but cannot be answered yet: %s", self._attempt.request_id, error)
                return True
            self._attempt.lost.set()
        return False

    def finished(self, attempt: Attempt) -> None:
        """Raise ClaimLost if the deadline was answered first."""
        with self._ending:
            if attempt.lost.is_set():
                raise ClaimLost(f"{attempt.request_id} is answered by another attempt")
            self._finished = True

    def _answer(self) -> None:
        error = DeadlineExceeded(f"the request took longer than the limit of {self._seconds:.0f} s")
        told = {"cost_time": self._attempt.seconds(), "usage": self._attempt.usage(answered=False)}
        envelope = failure(self._attempt.request_id, error, told, self._attempt.metadata)
        self._publisher.publish(envelope, self._attempt)
        self._hooks.refused(type(error).__name__)
