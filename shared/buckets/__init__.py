"""Object stores: one protocol, three implementations, and the addresses that name them."""

from pathlib import Path
from urllib.parse import urlsplit

from shared.buckets.aws_clients import ClientUnavailable, S3Settings
from shared.buckets.base import (
    Bucket,
    BucketError,
    InvalidKey,
    MissingObject,
    ObjectInfo,
    StoreAbsent,
    StoreMisconfigured,
    StoreUnavailable,
    UnreadableFolder,
)
from shared.buckets.folder import FolderBucket
from shared.buckets.memory import MemoryBucket
from shared.errors import how_to_install

__all__ = [
    "Bucket",
    "BucketError",
    "FolderBucket",
    "InvalidKey",
    "MemoryBucket",
    "MissingObject",
    "ObjectInfo",
    "StoreAbsent",
    "StoreMisconfigured",
    "StoreUnavailable",
    "UnreadableFolder",
    "endpoint_of",
    "open_bucket",
    "prefix_of",
    "s3_name",
    "sign_put",
    "with_history",
]


def open_bucket(address: str, s3: S3Settings | None = None) -> Bucket:
    """Open the bucket at an address: a folder's path, or `s3://name` or `s3://name/prefix`. A missing folder is made.

    Raises:
        StoreUnavailable: if the folder cannot be used.
        StoreAbsent: if the folder does not exist yet and cannot be made.
        StoreMisconfigured: if the path can never be a bucket.
        BucketError: if the address is malformed, or boto3 is missing.
    """
    if "://" not in address:
        return FolderBucket(Path(address))
    parts = urlsplit(address)
    if parts.scheme not in ("s3", "oss") or not parts.netloc or parts.query or parts.fragment:
        raise BucketError(f"{address} is not a bucket; give a folder's path, s3://NAME or s3://NAME/PREFIX")
    try:
        from shared.buckets.s3 import S3Bucket

        return S3Bucket(parts.netloc, s3 or S3Settings(), parts.path)
    except ModuleNotFoundError as error:
        raise BucketError(f"{address} needs boto3: {how_to_install('cloud')}") from error
    except ClientUnavailable as error:
        raise BucketError(f"{address}: {error}") from error


def with_history(bucket: Bucket) -> Bucket:
    """Return the bucket with its deleted and overwritten versions; the bucket itself if it keeps none.

    Raises BucketError if it keeps versions that this role may not list.
    """
    if s3_name(bucket) is None:
        return bucket
    from shared.buckets.history import History
    from shared.buckets.s3 import S3Bucket

    if not isinstance(bucket, S3Bucket):
        return bucket
    history = History(bucket.name, bucket.settings, bucket.prefix)
    if not history.keeps_versions():
        return bucket
    history.require_versions()
    return history


def sign_put(bucket: Bucket, key: str, content_type: str, seconds: int) -> str | None:
    """Return a URL by which anybody may put an object for so many seconds; None if the bucket is not in an S3 store.

    Raises BucketError if it cannot be signed.
    """
    if s3_name(bucket) is None:
        return None
    from shared.buckets.s3 import S3Bucket

    return bucket.sign_put(key, content_type, seconds) if isinstance(bucket, S3Bucket) else None


def s3_name(bucket: Bucket) -> str | None:
    """Return the bucket's name in events; None if it is not in an S3 store."""
    return urlsplit(bucket.address).netloc if bucket.address.startswith("s3://") else None


def endpoint_of(bucket: Bucket) -> str | None:
    """Return the URL of the bucket's store; None for AWS, or if the bucket is not in an S3 store."""
    settings = getattr(bucket, "settings", None)
    return settings.endpoint if isinstance(settings, S3Settings) else None


def prefix_of(bucket: Bucket) -> str:
    """Return the prefix of all the bucket's keys in the store and in its events: empty, or ending with /."""
    path = urlsplit(bucket.address).path.strip("/") if bucket.address.startswith("s3://") else ""
    return f"{path}/" if path else ""
