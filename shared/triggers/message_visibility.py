"""A message kept invisible while it is worked on, by a thread that asks neither the work nor the store how they do."""

import logging
import threading
from types import TracebackType

from shared.triggers.sqs_queue import Message, Queue, QueueError

log = logging.getLogger(__name__)

EXTENSIONS = 4  # within one visibility time-out: two of them may fail before a living worker's message comes back


class Keeping:
    """Extends a message's visibility from `__enter__` to `__exit__`; after that no late extension hides it again."""

    def __init__(self, queue: Queue, message: Message) -> None:
        self._queue, self._message, self._done = queue, message, threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeping {message.identity}", daemon=True)

    def __enter__(self) -> "Keeping":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._queue.visibility / EXTENSIONS):
            try:
                if not self._queue.hold(self._message, self._queue.visibility):
                    log.warning("message %s has been held for 12 hours and comes again", self._message.identity)
                    return
            except QueueError as error:
                log.warning("message %s is not held any longer: %s", self._message.identity, error)
