"""One worker: one function, one bucket, one request at a time, until it is asked to stop."""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from shared.buckets import Bucket, FolderBucket
from shared.buckets.conditions import require_conditions
from shared.context import Context, load_function
from shared.function import Function
from shared.interruption import Shutdown
from shared.liveness import Liveness
from shared.settings import Settings
from shared.triggers import Trigger
from shared.triggers.folder import FolderTrigger
from shared.triggers.protection import TaskProtection
from shared.triggers.queue import Queue
from shared.triggers.scan import ScanTrigger
from shared.triggers.sqs import SqsTrigger

log = logging.getLogger(__name__)


class Worker:
    """Loads its function, then answers requests; SIGTERM and SIGINT drain, a second one hands the request back.

    Args:
        until_empty: end with the first poll of the queue that brings nothing.
    """

    def __init__(
        self,
        function: str,
        bucket: Bucket,
        settings: Settings,
        load: Callable[[str, Settings], Function] = load_function,
        until_empty: bool = False,
    ) -> None:
        self._until_empty = until_empty
        self._function, self._bucket, self._settings, self._load = function, bucket, settings, load
        self._shutdown = Shutdown(settings.lease.drain_seconds)

    def run(self, trigger: Trigger | None = None) -> None:
        """Until stopped. BucketError at the start for a store that two workers could not share."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        liveness = Liveness(self._function, self._settings.health.file)
        require_conditions(self._bucket)
        trigger = trigger or self._trigger()
        context = Context(self._bucket, self._settings, self._shutdown, self._load, trigger.beat)
        invocation = context.invocation(self._function)
        log.info("%s is ready on %s", self._function, self._bucket.address)
        trigger.run(liveness.around(invocation.receive), liveness.polled(self._shutdown.requested))
        context.close()
        log.info("%s has stopped", self._function)

    def follow_parent(self) -> None:
        """Drain when standard input ends, as it does when the process that started this one is gone."""
        threading.Thread(target=self._await_parent, name="parent", daemon=True).start()

    def _trigger(self) -> Trigger:
        """The queue's, where there is one; else a folder is watched, and any other bucket scanned."""
        settings = self._settings
        if settings.sqs.queue is not None:
            queue = Queue(settings.sqs.queue, settings.sqs, settings.s3)
            protection = TaskProtection(settings.limits.request_seconds)
            return SqsTrigger(
                queue, self._bucket, self._function, settings.lease, protection, until_empty=self._until_empty
            )
        largest = settings.limits.manifest_bytes
        if isinstance(self._bucket, FolderBucket):
            return FolderTrigger(self._bucket, self._function, settings.scan, largest)
        return ScanTrigger(self._bucket, self._function, settings.scan, largest)

    def _await_parent(self) -> None:
        sys.stdin.read()
        self._shutdown.request()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        log.info("%s got %s", self._function, signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())
