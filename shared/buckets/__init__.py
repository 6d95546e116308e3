"""Object stores: one protocol, several places, and the address that names one."""

from pathlib import Path

from shared.buckets.base import Bucket, BucketError, InvalidKey, MissingObject, ObjectInfo
from shared.buckets.folder import FolderBucket
from shared.buckets.memory import MemoryBucket

__all__ = [
    "Bucket",
    "BucketError",
    "FolderBucket",
    "InvalidKey",
    "MemoryBucket",
    "MissingObject",
    "ObjectInfo",
    "open_bucket",
]


def open_bucket(address: str) -> FolderBucket:
    """The bucket at an address: a folder's path, made if it is not there."""
    if "://" in address:
        raise BucketError(f"{address}: only folders can be buckets; give the path of one")
    return FolderBucket(Path(address))
