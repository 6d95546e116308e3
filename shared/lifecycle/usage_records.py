"""Records of what answered requests have used, by day and user; `shared/contract/usage.py` has the keys."""

from dataclasses import asdict

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.hooks import AttemptHook
from shared.contract.manifests import Json, encode
from shared.contract.usage import records_of


class UsageRecords(AttemptHook):
    """Writes the records of each committed answer; a repetition writes the same objects again."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def committed(self, function: str, event: Json, envelope: Json) -> None:
        """Write the records, unless the answer's user was forgotten meanwhile."""
        records = records_of(function, envelope)
        for one in records:
            self._bucket.put(one.key, encode(asdict(one)))
        if records and self._bucket.head(keys.result(function, envelope["request_id"])) is None:
            for one in records:
                self._bucket.delete(one.key)
