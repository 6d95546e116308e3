"""Whether a store can be trusted with claims: it must refuse to create what is there."""

import secrets

from shared.buckets.base import Bucket, BucketError
from shared.contract import keys

OLD_SECONDS = 3600.0  # between two probes on the store's clock, after which the older one is nobody's


def honors_conditions(bucket: Bucket) -> bool:
    """Whether a second create-if-absent of one key is refused, which claims and answers depend on."""
    key = f"{keys.PROBES}{secrets.token_hex(8)}"
    try:
        return bucket.put_if_absent(key, b"1") and not bucket.put_if_absent(key, b"2") and bucket.get(key) == b"1"
    finally:
        _remove(bucket, key)


def _remove(bucket: Bucket, key: str) -> None:
    """The probe, and those of processes that died in the middle of this."""
    own = bucket.head(key)
    for info in list(bucket.list(keys.PROBES)):
        if info.key == key or (own is not None and own.modified - info.modified > OLD_SECONDS):
            bucket.delete(info.key)


def require_conditions(bucket: Bucket) -> None:
    """BucketError for a store that says it created what was there: two workers would own one request."""
    if not honors_conditions(bucket):
        raise BucketError(
            f"{bucket.address} overwrites what it is asked to create if absent: requests could be answered twice. "
            "For OSS set PHOTOG_S3__CONDITIONS=oss-forbid-overwrite and leave versioning off; other stores need a "
            "release that knows If-None-Match"
        )
