"""Completion events to an SNS topic: the CloudEvent is the message, type and subject are attributes to filter by."""

import json

from shared.buckets.aws_clients import client
from shared.contract.manifests import Json
from shared.notify import DeliveryFailed

TRIES = 2  # within one call; the outbox tries again later
READ_SECONDS = 10.0
FIFO = ".fifo"


class SnsTopic:
    """One topic, standard or FIFO, in the region that its ARN names. Raises ClientUnavailable."""

    def __init__(self, arn: str, endpoint: str | None = None) -> None:
        self._arn = arn
        self.name = f"sns-{arn.rpartition(':')[2]}"
        self._client = client("sns", endpoint, arn.split(":")[3] or None, TRIES, READ_SECONDS)

    def send(self, event: Json) -> None:
        """Publish the event; raises DeliveryFailed with the service's reason."""
        from botocore.exceptions import BotoCoreError, ClientError

        attributes = {
            name: {"DataType": "String", "StringValue": event[name]} for name in ("type", "subject", "source")
        }
        order = {"MessageGroupId": event["subject"], "MessageDeduplicationId": event["id"]}
        try:
            self._client.publish(
                TopicArn=self._arn,
                Message=json.dumps(event, ensure_ascii=False),
                MessageAttributes=attributes,
                **(order if self._arn.endswith(FIFO) else {}),
            )
        except (BotoCoreError, ClientError) as error:
            raise DeliveryFailed(f"{self.name}: {error}") from error
