"""One SQS queue, for its consumer and its sender."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.buckets.aws_clients import GET_CREDENTIALS, S3Settings, SqsSettings, client, region
from shared.errors import ConfigurationError, PhotogError

LONGEST_HOLD = 12 * 3600  # seconds after a receive for which SQS can hide a message; asking for more is an error
LONGEST_DELAY = 900  # seconds by which SQS can delay a message
TRIES = 3  # of each call; the loop around it tries again
ANSWER_SECONDS = 5.0  # for SQS to answer beyond its long poll; short, since the heartbeat waits for it
SEEN = "photog-seen"  # attribute of a postponed message: seconds of its delay, and tokens of `observations.py`
SEEN_VALUE = re.compile(r"(\d{1,3}) ([0-9a-f]{16}(?:,[0-9a-f]{16})*)")
REGION = re.compile(r"https?://(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com")


class QueueError(PhotogError):
    """The queue cannot be reached or refuses a call; the message says why."""


class QueueMisconfigured(QueueError, ConfigurationError):
    """There are no credentials for the queue; waiting is no help."""


@dataclass(frozen=True)
class Message:
    """A message that we hold until its visibility timeout ends.

    Attributes:
        receives: how often it has been received, including this time.
        received: time of receipt on our monotonic clock.
        seen: tokens from the worker that postponed it, see `observations.py`.
        kept_back: seconds for which the queue has delayed it since.
    """

    identity: str
    body: str
    receipt: str
    receives: int
    received: float
    seen: tuple[str, ...] = ()
    kept_back: float = 0.0


class SqsQueue:
    """A queue by its URL; `s3` gives the region if the URL does not."""

    def __init__(
        self, url: str, settings: SqsSettings, s3: S3Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url, self.visibility = url, settings.visibility_seconds
        self._wait, self._clock = settings.wait_seconds, clock
        named = REGION.match(url)
        where = (named.group(1) or named.group(2)) if named else region(s3)
        self._client = client("sqs", settings.endpoint, where, TRIES, settings.wait_seconds + ANSWER_SECONDS)
        self._quick = client("sqs", settings.endpoint, where, TRIES, ANSWER_SECONDS, connect_timeout=ANSWER_SECONDS)

    def receive(self, wait_seconds: int | None = None) -> Message | None:
        """Return the next message, or None if a long poll finds none; raises QueueError."""
        answer = self._call(
            self._client.receive_message,
            MaxNumberOfMessages=1,  # a second one would only wait here while other workers are free
            WaitTimeSeconds=self._wait if wait_seconds is None else wait_seconds,
            VisibilityTimeout=self.visibility,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=[SEEN],
        )
        for one in answer.get("Messages", []):
            receives = int(one.get("Attributes", {}).get("ApproximateReceiveCount", 1))
            told = SEEN_VALUE.fullmatch(one.get("MessageAttributes", {}).get(SEEN, {}).get("StringValue", ""))
            seen = (tuple(told[2].split(",")), float(told[1])) if told else ()
            return Message(one["MessageId"], one["Body"], one["ReceiptHandle"], receives, self._clock(), *seen)
        return None

    def hold(self, message: Message, seconds: float) -> bool:
        """Hide a message for this long from now, within SQS's 12 hours; False when they are used up."""
        left = LONGEST_HOLD - (self._clock() - message.received) - 1
        if seconds and left < 1:
            return False
        visible = int(min(seconds, left)) if seconds else 0
        self._call(self._quick.change_message_visibility, ReceiptHandle=message.receipt, VisibilityTimeout=visible)
        return True

    def delete(self, message: Message) -> None:
        """Delete a message that is done."""
        self._call(self._quick.delete_message, ReceiptHandle=message.receipt)

    def send(self, body: str, delay_seconds: float = 0, seen: Sequence[str] = ()) -> None:
        """Send a message that is visible after the delay, with the tokens of what its sender has seen."""
        seconds = int(min(delay_seconds, LONGEST_DELAY))
        more: dict[str, Any] = {"DelaySeconds": seconds} if delay_seconds else {}
        if seen:
            value = f"{seconds} {','.join(seen)}"
            more["MessageAttributes"] = {SEEN: {"DataType": "String", "StringValue": value}}
        self._call(self._quick.send_message, MessageBody=body, **more)

    def postpone(self, message: Message, seconds: float, seen: Sequence[str] = ()) -> None:
        """Send the message again with a delay and receives counted from 0, for a wait that is not a failure."""
        self.send(message.body, seconds, seen)
        self.delete(message)

    def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        try:
            return operation(QueueUrl=self.url, **arguments)
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise QueueMisconfigured(f"{self.url}: {error}; {GET_CREDENTIALS}") from error
        except (BotoCoreError, ClientError) as error:
            raise QueueError(f"{self.url}: {error}") from error
