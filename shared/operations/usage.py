"""What users have used, added up from the records of a bucket by listing them; see `shared/contract/usage.py`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.buckets import Bucket
from shared.contract import keys
from shared.contract.usage import UsageRecord, day_of, parse_record


@dataclass
class Usage:
    """A sum of records.

    Attributes:
        requests: how many, by function.
    """

    requests: dict[str, int] = field(default_factory=dict)
    device_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_kept: int = 0

    def add(self, one: UsageRecord) -> None:
        """Add a record."""
        self.requests[one.function] = self.requests.get(one.function, 0) + 1
        self.device_seconds += one.device_seconds
        self.bytes_read += one.bytes_read
        self.bytes_written += one.bytes_written
        self.bytes_kept += one.bytes_kept


def list_records(bucket: Bucket, since: float, user_id: str = "") -> Iterator[UsageRecord]:
    """Yield the records of the requests that ended since a moment, by day; without an id those of everybody.

    Args:
        since: seconds since 1970.
    """
    for day in sorted(bucket.folders(keys.USAGE)):
        if day < day_of(since):
            continue
        for info in bucket.list(keys.usage(day, user_id)):
            record = parse_record(info.key)
            if record is not None and record.ended >= since:
                yield record


def sum_usage(bucket: Bucket, since: float, user_id: str = "") -> tuple[dict[str, Usage], Usage]:
    """Return the sum of each user, by id, and of all; a request of several people counts once in the latter."""
    users: dict[str, Usage] = {}
    total, counted = Usage(), set[tuple[str, str, float]]()
    for one in list_records(bucket, since, user_id):
        users.setdefault(one.user_id, Usage()).add(one)
        total.add(one)
        answer = one.function, one.request_id, one.ended  # an id may be used again, once its answer was removed
        if answer in counted:
            total.requests[one.function] -= 1
        counted.add(answer)
    return dict(sorted(users.items())), total
