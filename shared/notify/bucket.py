"""Completion events as objects of the bucket: `notifications/<function>/<event id>.json`."""

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import Json, encode


class BucketNotifier:
    """Writes each event once, under its id."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def announce(self, function: str, request_id: str) -> None:
        """Nothing: the event follows from the answer, beside which it lies."""

    def withdraw(self, function: str, request_id: str) -> None:
        """Nothing was noted."""

    def notify(self, function: str, event: Json) -> None:
        """Write the event unless it is there."""
        self._bucket.put_if_absent(keys.notification(function, event["id"]), encode(event))
