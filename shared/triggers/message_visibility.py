"""Keeps a message invisible while it is worked on, from a thread that waits for neither the work nor the store."""

import logging

from shared.contract.hooks import AttemptHook
from shared.triggers.sqs_queue import Message, QueueError, SqsQueue

log = logging.getLogger(__name__)

EXTENSIONS = 4  # within one visibility timeout: two may fail before a living worker's message reappears


class MessageVisibility(AttemptHook):
    """Extends a message's visibility timeout at each beat, with a pulse of its own around all objects that it names.

    Once the pulse ends, no late extension hides the message again.
    """

    def __init__(self, queue: SqsQueue, message: Message) -> None:
        self._queue, self._message = queue, message

    def beat_after(self) -> float:
        return self._queue.visibility / EXTENSIONS

    def beat(self) -> bool:
        """Extend the timeout; False if SQS does not allow the message to be held any longer."""
        try:
            if not self._queue.hold(self._message, self._queue.visibility):
                log.warning("message %s has been held for 12 hours and will be delivered again", self._message.identity)
                return False
        except QueueError as error:
            log.warning("the visibility timeout of message %s could not be extended: %s", self._message.identity, error)
        return True
