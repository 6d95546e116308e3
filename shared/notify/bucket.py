"""Completion events as objects of the bucket: `notifications/<function>/<event id>.json`."""

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json, encode


class BucketNotifier(AttemptHook):
    """Writes each event once, under its id. Nothing is noted before: the event follows from the answer beside it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def committed(self, function: str, event: Json) -> None:
        """Write the event unless it is there."""
        self._bucket.put_if_absent(keys.notification(function, event["id"]), encode(event))
