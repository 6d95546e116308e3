"""Completion events as objects in the bucket: `notifications/<function>/<event id>.json`."""

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json, encode


class BucketNotifier(AttemptHook):
    """Writes each event once, under its id.

    Nothing is recorded before the commit, because the event follows from the answer in the same bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def committed(self, function: str, event: Json, envelope: Json) -> None:
        """Write the event unless it exists."""
        self._bucket.put_if_absent(keys.notification(function, event["id"]), encode(event))
