"""One worker: one function, one bucket, one request at a time, until it is asked to stop."""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from shared.buckets import Bucket, FolderBucket
from shared.buckets.conditional_writes import require_conditions
from shared.contract.hooks import AttemptHook
from shared.lifecycle.device_turn import DeviceTurn
from shared.lifecycle.observations import Observations
from shared.lifecycle.shutdown import Shutdown
from shared.observability.metrics import WorkerMetrics
from shared.runtime.context import Context, Load, load_function, make_owner_name
from shared.runtime.eviction import Eviction
from shared.runtime.liveness import Liveness
from shared.runtime.presence import Presence
from shared.runtime.seat import Seat, Vacancy
from shared.settings import Settings
from shared.triggers import Trigger
from shared.triggers.ecs_task_protection import TaskProtection
from shared.triggers.folder import FolderTrigger
from shared.triggers.scan import ScanTrigger
from shared.triggers.sqs import SqsTrigger
from shared.triggers.sqs_queue import SqsQueue

log = logging.getLogger(__name__)

READY = "photog: ready"  # the line by which a supervisor knows
LAST_RESORT_SECONDS = 15.0  # beyond the drain time; ten of these are for events to go out


class Worker:
    """Loads its function, then answers requests; SIGTERM and SIGINT drain, a second one hands the request back.

    Between requests the function drops what it cached of deleted objects (`eviction.py`): data of a forgotten user
    leaves the worker's memory soon after the running request.

    Args:
        until_empty: end at the first poll of the queue that finds nothing.
        dead_letters: the dead-letter queue to serve, which has no other behind it; None serves what the settings say.
        seat: see `seat.py`; None for a worker that needs none.
        idle_seconds: end once there was no request for so long; needs a seat.
    """

    def __init__(
        self,
        function: str,
        bucket: Bucket,
        settings: Settings,
        load: Load = load_function,
        until_empty: bool = False,
        dead_letters: SqsQueue | None = None,
        seat: Seat | None = None,
        idle_seconds: float = math.inf,
    ) -> None:
        self._seat, self._idle_seconds = seat, idle_seconds
        self._until_empty, self._dead_letters = until_empty, dead_letters
        self._function, self._bucket, self._settings, self._load = function, bucket, settings, load
        self._shutdown = Shutdown(settings.lease.drain_seconds)
        self._ended = threading.Event()
        self._followed = False

    def run(self) -> None:
        """Run until stopped.

        Raises BucketError at the start if two workers could not share the store, SeatTaken, and FunctionUnavailable.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if self._seat is None:
            self._serve(lambda state: None)
            return
        with self._seat.take() as tell:
            self._serve(tell)

    def _serve(self, tell: Callable[[str], None]) -> None:
        liveness = Liveness(self._function, self._settings.health.file)
        require_conditions(self._bucket)
        observations = Observations()
        metrics = WorkerMetrics(
            self._function, self._settings.metrics, lambda: context.work_process(), lambda: trigger.failing
        )
        eviction = Eviction(self._shutdown.requested)
        turn = DeviceTurn()
        owner = make_owner_name()
        presence = Presence(self._bucket, self._function, owner, self._settings.health.presence_seconds)
        hooks: list[AttemptHook] = [eviction, metrics, liveness, presence, turn]
        if self._seat is not None:
            hooks.append(Vacancy(self._seat, self._idle_seconds, self._shutdown.request))
        queue = self._queue()
        if queue is not None:
            hooks.insert(0, TaskProtection(self._settings.limits.request_seconds))
        trigger = self._trigger(queue, hooks, observations, turn)
        context = Context(self._bucket, self._settings, self._shutdown, self._load, observations, hooks, owner)
        try:
            metrics.start()
            invocation = context.invocation(self._function)
            trigger.prepare_with(invocation.prepare)
            trigger.prepare(self._shutdown.requested)
            liveness.loading()
            context.await_loaded()
            log.info("%s is ready on %s", self._function, self._bucket.address)
            self._tell_parent()
            tell("ready")
            presence.begin()
            threading.Thread(target=self._end_in_time, name="end", daemon=True).start()
            eviction.start(invocation.tidy)
            trigger.run(invocation.receive, self._shutdown.requested)
        finally:
            presence.end()
            context.close()
            metrics.close()
            self._ended.set()
        log.info("%s has stopped", self._function)

    def follow_parent(self) -> None:
        """Tell the parent process when this one is ready, and drain when standard input is closed because it died."""
        self._followed = True
        threading.Thread(target=self._await_parent, name="parent", daemon=True).start()

    def _queue(self) -> SqsQueue | None:
        sqs = self._settings.sqs
        if self._dead_letters is not None or sqs.queue is None:
            return self._dead_letters
        return SqsQueue(sqs.queue, sqs, self._settings.s3)

    def _trigger(
        self, queue: SqsQueue | None, hooks: Sequence[AttemptHook], observations: Observations, turn: DeviceTurn
    ) -> Trigger:
        """Return the trigger: the queue's if there is one, a watcher for a folder, a scan for any other bucket."""
        settings = self._settings
        if queue is not None:
            return SqsTrigger(
                queue,
                self._bucket,
                self._function,
                settings.lease,
                hooks,
                turn=turn,
                last=self._dead_letters is not None,
                until_empty=self._until_empty,
                observations=observations,
            )
        if isinstance(self._bucket, FolderBucket):
            return FolderTrigger(self._bucket, self._function, settings.scan, hooks=hooks, turn=turn)
        return ScanTrigger(self._bucket, self._function, settings.scan, hooks=hooks, turn=turn)

    def _end_in_time(self) -> None:
        """Exit as a last resort after SIGTERM, if this process itself hangs: its claims expire."""
        self._shutdown.requested.wait()
        if self._ended.wait(self._settings.lease.drain_seconds + LAST_RESORT_SECONDS):
            return
        log.error("%s did not stop in time and is killed", self._function)
        os._exit(1)

    def _tell_parent(self) -> None:
        """Write the line that says this worker is ready, if a parent reads its output."""
        if self._followed:
            with suppress(BrokenPipeError):  # the parent is gone, which standard input shows
                sys.stdout.write(READY + "\n")
                sys.stdout.flush()

    def _await_parent(self) -> None:
        sys.stdin.read()
        self._shutdown.request()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._shutdown.overdue():  # the signal to hand back may be repeated
            log.info("%s got %s", self._function, signal.Signals(number).name)
        self._shutdown.request(now=self._shutdown.requested.is_set())
