"""One worker: one function, one bucket, one request at a time, until it is asked to stop."""

import logging
import signal
import sys
import threading
from types import FrameType

from shared.buckets import FolderBucket
from shared.context import Context
from shared.interruption import Shutdown
from shared.settings import Settings
from shared.triggers.folder import FolderTrigger

log = logging.getLogger(__name__)


class Worker:
    """Loads its function, then answers requests; SIGTERM and SIGINT drain, a second one hands the request back."""

    def __init__(self, function: str, bucket: FolderBucket, settings: Settings) -> None:
        self._function, self._bucket, self._settings = function, bucket, settings
        self._shutdown = Shutdown(settings.lease.drain_seconds)

    def run(self) -> None:
        """Until stopped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        context = Context(self._bucket, self._settings, self._shutdown)
        invocation = context.invocation(self._function)
        trigger = FolderTrigger(self._bucket, self._function, self._settings.scan, self._settings.limits.manifest_bytes)
        log.info("%s is ready on %s", self._function, self._bucket.address)
        trigger.run(invocation.receive, self._shutdown.requested)
        log.info("%s has stopped", self._function)

    def follow_parent(self) -> None:
        """Drain when standard input ends, as it does when the process that started this one is gone."""
        threading.Thread(target=self._await_parent, name="parent", daemon=True).start()

    def _await_parent(self) -> None:
        sys.stdin.read()
        self._shutdown.request()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        log.info("%s got %s", self._function, signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())
