"""Test whether a store can hold claims: it must refuse to create an object that exists."""

import secrets

from shared.buckets.base import Bucket, BucketError
from shared.contract import keys

OLD_SECONDS = 3600.0  # between two probes on the store's clock, after which the older one is abandoned


def honors_conditions(bucket: Bucket) -> bool:
    """Return whether the store refuses a second create-if-absent of a key, on which claims and answers depend."""
    key = f"{keys.PROBES}{secrets.token_hex(8)}"
    try:
        return bucket.put_if_absent(key, b"1") and not bucket.put_if_absent(key, b"2") and bucket.get(key) == b"1"
    finally:
        _remove(bucket, key)


def _remove(bucket: Bucket, key: str) -> None:
    """Remove the probe, and abandoned probes of processes that died during the test."""
    own = bucket.head(key)
    for info in list(bucket.list(keys.PROBES)):
        if info.key == key or (own is not None and own.modified - info.modified > OLD_SECONDS):
            bucket.delete(info.key)


def require_conditions(bucket: Bucket) -> None:
    """Raise BucketError if the store overwrites in create-if-absent: two workers would own one request."""
    if not honors_conditions(bucket):
        raise BucketError(
            f"{bucket.address} overwrites objects that it should create only if absent: requests could be answered "
            "twice. For OSS set PHOTOG_S3__CONDITIONS=oss-forbid-overwrite and leave versioning off; for other stores "
            "use a release that supports If-None-Match"
        )
