"""Object stores: one protocol, several places, and the address that names one."""

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
    "with_history",
]


def open_bucket(address: str, s3: S3Settings | None = None) -> Bucket:
    """The bucket at an address: a folder's path, made if it is not there, or `s3://name` or `s3://name/prefix`.

    StoreUnavailable where the folder cannot be used, StoreAbsent where it is not there yet, StoreMisconfigured where it
    can be none; BucketError for what is no address or not installed.
    """
    if "://" not in address:
        return FolderBucket(Path(address))
    parts = urlsplit(address)
    if parts.scheme not in ("s3", "oss") or not parts.netloc or parts.query or parts.fragment:
        raise BucketError(f"{address} is no bucket; give a folder's path, s3://NAME or s3://NAME/PREFIX")
    try:
        from shared.buckets.s3 import S3Bucket

        return S3Bucket(parts.netloc, s3 or S3Settings(), parts.path)
    except ModuleNotFoundError as error:
        raise BucketError(f"{address} needs boto3: {how_to_install('cloud')}") from error
    except ClientUnavailable as error:
        raise BucketError(f"{address}: {error}") from error


def with_history(bucket: Bucket) -> Bucket:
    """The bucket with what it keeps of deleted and overwritten objects; itself where it keeps nothing.

    BucketError where it does and nobody may see it.
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


def s3_name(bucket: Bucket) -> str | None:
    """What events call the bucket; None where it is no store's."""
    return urlsplit(bucket.address).netloc if bucket.address.startswith("s3://") else None


def endpoint_of(bucket: Bucket) -> str | None:
    """The URL where a store is asked; None where it is AWS, or where the bucket is no store's."""
    settings = getattr(bucket, "settings", None)
    return settings.endpoint if isinstance(settings, S3Settings) else None


def prefix_of(bucket: Bucket) -> str:
    """What stands before every key of the bucket in the store and in its events: empty, or ending with /."""
    path = urlsplit(bucket.address).path.strip("/") if bucket.address.startswith("s3://") else ""
    return f"{path}/" if path else ""
