"""A worker's presence in the bucket, by which operators see that it is alive: `workers/<function>/<owner>.json`.

| when | what |
|---|---|
| the worker is ready | the object is written; those of killed workers, not written for an hour, are removed |
| its loop looks for work | it is written again, once in `health.presence_seconds` |
| it serves a request | nothing: the claim and the progress of the request name it and what it does |
| it ends | the object is removed |

Whoever looks needs a listing alone: the key has the name, and the store's time of the object is the last sign of life.
It costs an idle worker one write a minute, 43,000 a month, for which Amazon takes 0.22 dollars. Nothing depends on it:
a store that fails is only logged.
"""

import logging
import os
import socket
import time
from collections.abc import Callable

from shared.buckets import Bucket, BucketError
from shared.contract import keys
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import encode

log = logging.getLogger(__name__)

ABANDONED_SECONDS = 3600.0


class Presence(AttemptHook):
    """The hook that writes it.

    Args:
        owner: the worker's name in its claims.
        seconds: between two writes; 0 writes nothing at all.
    """

    def __init__(
        self,
        bucket: Bucket,
        function: str,
        owner: str,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket, self._folder, self._key = bucket, keys.workers(function), keys.worker(function, owner)
        self._seconds, self._clock = seconds, clock
        self._begun, self._written = False, float("-inf")
        self._content = encode({"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()})

    def begin(self) -> None:
        """Say that the worker is ready, and remove what killed workers have left."""
        self._begun = self._seconds > 0
        self.polled()
        if self._begun:
            self._try(self._remove_abandoned)

    def polled(self) -> None:
        if self._begun and self._clock() - self._written >= self._seconds:
            self._written = self._clock()  # also if it fails: the next try is as cheap as the last
            self._try(lambda: self._bucket.put(self._key, self._content))

    def end(self) -> None:
        """Say that the worker ends."""
        if self._begun:
            self._begun = False
            self._try(lambda: self._bucket.delete(self._key))

    def _remove_abandoned(self) -> None:
        own = self._bucket.head(self._key)
        for info in list(self._bucket.list(self._folder)):
            if own is not None and own.modified - info.modified > ABANDONED_SECONDS:
                self._bucket.delete(info.key)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (BucketError, OSError) as error:
            log.debug("%s is not written: %s", self._key, error)
