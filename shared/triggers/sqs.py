"""Requests from an SQS queue: one message is worked on at a time, and deleted only when its requests are answered.

| state of a message | when | what we do |
|---|---|---|
| held | received, until all its objects were offered | keep it invisible (`message_visibility.py`), at most 12 hours |
| made ready | held, while the one before still works | fetch its pictures, claim nothing (`lanes.py`) |
| deleted | every object that it names is answered, was answered before, or is not a request | delete it |
| postponed | another worker has the claim: its answer or death decides | send it again with a delay and what was seen |
| returned | SIGTERM came before or while it ran | make it visible at once |
| sent again | SIGTERM came when it was only made ready | send it again, so that this receive does not count |
| returned later | the store failed | make it visible after a pause that doubles with each receive |
| left to the dead letters | unreadable, or for another worker | make it visible after a pause; drop it the 10th time |

Only without a dead-letter queue are there ten receives. A postponed message is a new one, two leases later, because
waiting for a long training must not count as failed receives. The worker that receives it knows how the claim looked
before: if it is still the same, its owner is dead and the request is taken over. So a killed worker is followed after
the visibility timeout, two leases and a second at most, however many workers there are: 51 s by default.
"""

import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from threading import Event

from shared.buckets import Bucket, BucketError, InvalidKey, prefix_of, s3_name
from shared.buckets.base import is_usable_key
from shared.contract import keys
from shared.contract.function import NAMES, FunctionUnavailable
from shared.contract.hooks import AttemptHook, Hooks
from shared.errors import PhotogError
from shared.events import ObjectCreated, UnknownEvent, parse_text
from shared.lifecycle.claims import STALE_LEASES
from shared.lifecycle.device_turn import DeviceTurn
from shared.lifecycle.invocation import Outcome
from shared.lifecycle.observations import Observations
from shared.lifecycle.pulse import Pulse
from shared.lifecycle.unread import StrayLog
from shared.observability.failing_keys import Failures
from shared.settings import Lease
from shared.triggers import Receive
from shared.triggers.lanes import Lane, Lanes, Prepare
from shared.triggers.message_visibility import MessageVisibility
from shared.triggers.sqs_queue import Message, QueueError, SqsQueue

log = logging.getLogger(__name__)

LAST_RECEIVE = 10  # of an unreadable message, if no dead-letter queue takes it before
UNREADABLE_SECONDS = 10.0  # until another worker may try to read it
FAILED_SECONDS = 15.0  # after the first failure of the store; doubled with each receive
LONGEST_PAUSE = 900.0
RETRY_SECONDS = 5.0  # before the next try if the queue or the store fails
STOP_POLL = 0.1


class ForeignEvent(PhotogError):
    """The message names another bucket or function than this worker's: the queue is configured wrongly."""


class SqsTrigger:
    """Offers the objects that messages name to `receive`.

    Args:
        hooks: `polled` is called at every poll, `idle` when one finds nothing.
        turn: a hook of the requests that are served, with which the next message is made ready while one is worked
            on, and begun while its answer is published; None serves one after the other.
        last: drop unreadable messages at once; for a dead-letter queue, which has no other behind it.
        until_empty: end at the first poll that finds nothing.
        observations: of the claims that `receive` meets; they are sent along with a message that is postponed.
    """

    def __init__(
        self,
        queue: SqsQueue,
        bucket: Bucket,
        function: str,
        lease: Lease,
        hooks: Sequence[AttemptHook] = (),
        *,
        turn: DeviceTurn | None = None,
        last: bool = False,
        until_empty: bool = False,
        observations: Observations | None = None,
    ) -> None:
        self._queue, self._hooks = queue, Hooks(hooks)
        self._observations = observations or Observations()
        self._name, self._prefix = s3_name(bucket), prefix_of(bucket)
        self._function = function
        self._failures = Failures(bucket, function, keys.requests(function))
        self._busy_seconds = math.ceil(STALE_LEASES * lease.seconds) + 1
        self._last_receive = 1 if last else LAST_RECEIVE
        self._until_empty = until_empty
        self._stray_log = StrayLog()
        self._lanes = Lanes(turn)

    def prepare(self, stop: Event) -> None:
        """Do nothing: messages that cannot be served yet are better left in the queue."""

    def prepare_with(self, prepare: Prepare) -> None:
        self._lanes.prepare_with(prepare)

    def run(self, receive: Receive, stop: Event) -> None:
        """Poll and serve until `stop` is set; a failing queue is logged and polled again."""
        try:
            self._poll_until(receive, stop)
        finally:
            self._drain()
        self._hooks.idle()

    def _poll_until(self, receive: Receive, stop: Event) -> None:
        empty = False
        while not (empty or stop.is_set()):
            try:
                empty = self._lanes.await_room(stop) and not self._poll(receive, stop) and self._until_empty
            except (QueueError, BucketError, OSError):
                log.exception("a message could not be served and will be delivered again")
                self._pause(stop)

    def _poll(self, receive: Receive, stop: Event) -> bool:
        """Begin to serve the next message; False if none was found although nothing is in hand."""
        alone = self._lanes.empty
        if alone:
            self._hooks.polled()
        self._failures.adopt()
        message = self._queue.receive(0 if self._lanes.running else None)
        if message is not None:
            self._lanes.begin(partial(self._serve, message, receive), stop)
            return True
        if alone:
            self._hooks.idle()
            return False
        self._lanes.await_turn(stop)
        return True

    def _drain(self) -> None:
        """Wait for what is in hand; errors of the queue only mean that a message is delivered again."""
        while not self._lanes.empty:
            try:
                self._lanes.drain()
            except (QueueError, BucketError, OSError):
                log.exception("a message could not be served and will be delivered again")

    @property
    def failing(self) -> int:
        """The number of failing keys."""
        return len(self._failures)

    def _serve(self, message: Message, receive: Receive, lane: Lane) -> None:
        created: list[ObjectCreated] = []
        outcomes: set[Outcome] = set()
        try:
            with Pulse(f"keeping {message.identity}", MessageVisibility(self._queue, message)):
                created = self._objects(message)
                begun = lane.take_turn(created)
                if begun:
                    self._learn(message)
                    outcomes = {self._offer(one, receive) for one in created}
        except (UnknownEvent, ForeignEvent) as error:
            self._leave(message, error)
        except FunctionUnavailable:
            self._queue.hold(message, 0)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary between messages: one must never stop the others
            for one in created:
                self._failures.add(one.key, error)
            self._queue.hold(message, min(LONGEST_PAUSE, FAILED_SECONDS * 2 ** min(message.receives, 10)))
        else:
            for one in created:
                self._failures.remove(one.key, shown=message.receives > 1)
            if begun:
                self._settle(message, outcomes)
            else:
                self._give_back(message)

    def _learn(self, message: Message) -> None:
        """Take over what the worker that postponed the message saw, and the time since then."""
        self._observations.take_tokens()
        self._observations.learn(message.seen, message.kept_back)

    def _give_back(self, message: Message) -> None:
        """Return a message that was only made ready: sent again, lest workers that stop use up its receives.

        What another worker has seen is passed on with its age, which only the message itself tells.
        """
        if message.seen:
            self._queue.hold(message, 0)
        else:
            self._queue.postpone(message, 0, ())

    def _settle(self, message: Message, outcomes: set[Outcome]) -> None:
        if Outcome.HANDED_BACK in outcomes:
            self._queue.hold(message, 0)
        elif Outcome.BUSY in outcomes:
            self._queue.postpone(message, self._busy_seconds, self._observations.take_tokens())
        else:
            self._queue.delete(message)

    def _objects(self, message: Message) -> list[ObjectCreated]:
        created = parse_text(message.body)
        for one in created:
            if self._name is not None and one.bucket not in (None, self._name):
                raise ForeignEvent(f"{one.key} is in bucket {one.bucket}, but this worker serves {self._name}")
        ours = [local for one in created if (local := one.below(self._prefix)) is not None]
        for one in ours:
            if not keys.is_request(one.key, self._function) and any(keys.is_request(one.key, other) for other in NAMES):
                raise ForeignEvent(f"{one.key} is not for {self._function}: every function needs a queue of its own")
            self._stray_log.tell_of(one.key)
        return ours

    def _offer(self, created: ObjectCreated, receive: Receive) -> Outcome:
        try:
            return receive(created)
        except InvalidKey as error:
            if is_usable_key(created.key):
                raise  # not the manifest's fault: something else occupies the keys of its claims or answer
            log.error("%s can never be answered: %s", created.key.encode(errors="replace"), error)
            return Outcome.IGNORED

    def _leave(self, message: Message, error: Exception) -> None:
        if message.receives < self._last_receive:
            log.error("message %s is left to the dead letters: %s", message.identity, error)
            self._queue.hold(message, UNREADABLE_SECONDS)
        else:
            log.error("message %s is dropped: %s; it was %.300s", message.identity, error, message.body)
            self._queue.delete(message)

    def _pause(self, stop: Event) -> None:
        until = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < until and not stop.is_set():
            self._hooks.polled()
            time.sleep(STOP_POLL)
