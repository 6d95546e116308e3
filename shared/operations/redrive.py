"""Dead letters back into their queue; SQS's own move task cannot tell functions apart."""

from shared.contract import keys
from shared.events import UnknownEvent, parse_text
from shared.triggers.sqs_queue import Message, SqsQueue


def redrive(function: str, source: SqsQueue, target: SqsQueue, limit: int) -> int:
    """Send every message that names a request of `function` to the target, then delete it; returns their number.

    A crash in between leaves a message in both queues, which is harmless because of the claims. Other messages stay.
    Where a queue fails, those that are not moved yet can be received again at once.
    """
    moved, held = 0, list[Message]()
    try:
        while moved < limit and (message := source.receive(wait_seconds=1)) is not None:
            held.append(message)
            if _names_request_of(function, message):
                target.send(message.body)
                source.delete(message)
                held.pop()
                moved += 1
    finally:
        for message in held:  # only now, or they would be received over and over
            source.hold(message, 0)
    return moved


def _names_request_of(function: str, message: Message) -> bool:
    try:
        return any(
            keys.is_request(keys.REQUESTS + one.key.partition(keys.REQUESTS)[2], function)
            for one in parse_text(message.body)
        )
    except UnknownEvent:
        return False
