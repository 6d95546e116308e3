"""A message kept invisible while it is worked on, by a thread that asks neither the work nor the store how they do."""

import logging

from shared.contract.hooks import AttemptHook
from shared.triggers.sqs_queue import Message, QueueError, SqsQueue

log = logging.getLogger(__name__)

EXTENSIONS = 4  # within one visibility time-out: two of them may fail before a living worker's message comes back


class MessageVisibility(AttemptHook):
    """Extends a message's visibility with each beat; it has a pulse of its own, around all that the message speaks of.

    After that no late extension hides the message again.
    """

    def __init__(self, queue: SqsQueue, message: Message) -> None:
        self._queue, self._message = queue, message

    def beat_after(self) -> float:
        return self._queue.visibility / EXTENSIONS

    def beat(self) -> bool:
        """False when SQS lets nobody hold the message any longer."""
        try:
            if not self._queue.hold(self._message, self._queue.visibility):
                log.warning("message %s has been held for 12 hours and comes again", self._message.identity)
                return False
        except QueueError as error:
            log.warning("message %s is not held any longer: %s", self._message.identity, error)
        return True
