"""One worker: one function, one bucket, one request at a time, until it is asked to stop."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from shared.buckets import Bucket, BucketError, FolderBucket, StoreUnavailable
from shared.buckets.conditional_writes import require_conditions
from shared.contract.function import AttemptFailed, FunctionFailed, FunctionUnavailable
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.observations import Observations
from shared.lifecycle.shutdown import Interrupted, Shutdown
from shared.observability.metrics import WorkerMetrics
from shared.runtime.context import Context, Load, load_function
from shared.runtime.liveness import Liveness
from shared.settings import Settings
from shared.triggers import Receive, Trigger
from shared.triggers.ecs_task_protection import TaskProtection
from shared.triggers.folder import FolderTrigger
from shared.triggers.scan import ScanTrigger
from shared.triggers.sqs import SqsTrigger
from shared.triggers.sqs_queue import Queue

log = logging.getLogger(__name__)

READY = "photog: ready"  # the line that tells a supervisor
LAST_RESORT_SECONDS = 15.0  # beyond the drain time: events have ten of them to go out
EVICT_SECONDS = 30.0  # a bucket is asked about a handful of keys then


class Worker:
    """Loads its function, then answers requests; SIGTERM and SIGINT drain, a second one hands the request back.

    Between requests, at least every `EVICT_SECONDS`, the function drops what it keeps of objects that are gone: what a
    forgotten person leaves in a worker's memory goes with the next look after the running request.

    Args:
        until_empty: end with the first poll of the queue that brings nothing.
    """

    def __init__(
        self,
        function: str,
        bucket: Bucket,
        settings: Settings,
        load: Load = load_function,
        until_empty: bool = False,
    ) -> None:
        self._until_empty = until_empty
        self._function, self._bucket, self._settings, self._load = function, bucket, settings, load
        self._shutdown = Shutdown(settings.lease.drain_seconds)
        self._serving, self._ended = threading.Lock(), threading.Event()
        self._followed = False

    def run(self, trigger: Trigger | None = None) -> None:
        """Until stopped. BucketError at the start for a store that two workers could not share; FunctionUnavailable."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        liveness = Liveness(self._function, self._settings.health.file)
        require_conditions(self._bucket)
        observations = Observations()
        trigger = trigger or self._trigger(observations)
        metrics = WorkerMetrics(self._function, self._settings.metrics, lambda: context.work_process())
        context = Context(self._bucket, self._settings, self._shutdown, self._load, observations, metrics)
        try:
            metrics.start()
            invocation = context.invocation(self._function)
            polled = liveness.polled(self._shutdown.requested)
            trigger.prepare(polled)
            liveness.loading()
            context.await_loaded()
            log.info("%s is ready on %s", self._function, self._bucket.address)
            self._tell_parent()
            threading.Thread(target=self._end_in_time, name="end", daemon=True).start()
            threading.Thread(target=self._evict, args=(invocation,), name="evict", daemon=True).start()
            receive = self._alone(liveness.around(invocation.receive), lambda: metrics.failing(trigger.failing))
            trigger.run(receive, polled)
        finally:
            context.close()
            metrics.close()
            self._ended.set()
        log.info("%s has stopped", self._function)

    def follow_parent(self) -> None:
        """Tell the process that started this one when it is ready, and drain when standard input ends with it."""
        self._followed = True
        threading.Thread(target=self._await_parent, name="parent", daemon=True).start()

    def _trigger(self, observations: Observations) -> Trigger:
        """The queue's, where there is one; else a folder is watched, and any other bucket scanned."""
        settings = self._settings
        if settings.sqs.queue is not None:
            queue = Queue(settings.sqs.queue, settings.sqs, settings.s3)
            protection = TaskProtection(settings.limits.request_seconds)
            return SqsTrigger(
                queue,
                self._bucket,
                self._function,
                settings.lease,
                protection,
                until_empty=self._until_empty,
                observations=observations,
            )
        if isinstance(self._bucket, FolderBucket):
            return FolderTrigger(self._bucket, self._function, settings.scan)
        return ScanTrigger(self._bucket, self._function, settings.scan)

    def _alone(self, receive: Receive, count: Callable[[], None]) -> Receive:
        """`receive`, during which nothing is evicted, and before which what fails is counted."""

        def serve(created: ObjectCreated, written: bool = True) -> Outcome:
            with self._serving:
                count()
                return receive(created, written)

        return serve

    def _evict(self, invocation: Invocation) -> None:
        """Now and then, between requests, until the end; and what others have left unfinished is finished."""
        while not self._shutdown.requested.wait(EVICT_SECONDS):
            with self._serving:
                try:
                    invocation.tidy()
                except StoreUnavailable as error:  # which the trigger tells of
                    log.debug("nothing is tidied up: %s", error)
                except (BucketError, OSError, AttemptFailed, Interrupted, FunctionFailed, FunctionUnavailable) as error:
                    log.warning("what is gone from the bucket may be kept in memory until the next look: %s", error)

    def _end_in_time(self) -> None:
        """The last resort after SIGTERM, should anything hang in this process itself: its claims run out."""
        self._shutdown.requested.wait()
        if self._ended.wait(self._settings.lease.drain_seconds + LAST_RESORT_SECONDS):
            return
        log.error("%s does not end by itself and is ended", self._function)
        os._exit(1)

    def _tell_parent(self) -> None:
        """That this worker is ready, where a parent reads its output."""
        if self._followed:
            with suppress(BrokenPipeError):  # the parent has gone, of which standard input tells
                sys.stdout.write(READY + "\n")
                sys.stdout.flush()

    def _await_parent(self) -> None:
        sys.stdin.read()
        self._shutdown.request()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._shutdown.overdue():  # whoever wants it to hand back may say so again and again
            log.info("%s got %s", self._function, signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())
