"""A versioned S3 bucket with everything that it still keeps: an object exists as long as any of its versions does.

| what is kept of a key | list and head give | get gives | delete removes |
|---|---|---|---|
| an object, and older versions | the object | the object | every version |
| a delete marker, and older versions | the newest version | the newest version | the versions and the markers |
| only delete markers | an empty object | nothing: MissingObject | the markers |

If versions may not be removed, the object itself still gets its delete marker, and BucketError says how many remain.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from shared.buckets.base import (
    BucketError,
    MissingObject,
    ObjectInfo,
    StoreUnavailable,
    check_prefix,
    read_bounded,
)
from shared.buckets.s3 import PIECE, S3Bucket
from shared.contract import keys

RIGHTS = "the role needs s3:ListBucketVersions, s3:GetObjectVersion and s3:DeleteObjectVersion"


@dataclass(frozen=True)
class _Version:
    """A version or delete marker of a key; `info` is None for a marker."""

    key: str
    identity: str
    latest: bool
    info: ObjectInfo | None


class History(S3Bucket):
    """The objects of a versioned bucket, and those deleted from it; writes go to the bucket as usual."""

    def get(self, key: str, largest: int | None = None) -> bytes:
        """Return the object's bytes; of a deleted object those of its newest version."""
        try:
            return super().get(key, largest)
        except MissingObject:
            return read_bounded(key, b"".join(self._newest(key)), largest)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in pieces; of a deleted object those of its newest version."""
        try:
            yield from super().stream(key)
        except MissingObject:
            yield from self._newest(key)

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """Yield every key of which anything is kept."""
        for key, versions in groupby(self._versions(check_prefix(prefix)), key=lambda one: one.key):
            if key <= after:
                continue
            info = _describe(key, list(versions))
            if self._misnamed.is_listed(key, info.size):  # an object that cannot be named cannot be requested either
                yield info

    def head(self, key: str) -> ObjectInfo | None:
        """Return the description of the object, or of its newest kept version."""
        versions = self._versions_of(key)
        return _describe(key, versions) if versions else None

    def delete(self, key: str) -> None:
        """Remove the object with every version and marker; BucketError says how many remain."""
        versions, left, why = self._versions_of(key), list[_Version](), ""
        for one in sorted(versions, key=lambda one: one.latest):  # the object last: a marker may take its place
            try:
                with self._translate_errors(key):
                    self._client.delete_object(Bucket=self.name, Key=self._existing_key(key), VersionId=one.identity)
            except StoreUnavailable:
                raise
            except BucketError as error:
                left.append(one)
                why = str(error)
        if left:
            if any(one.latest and one.info for one in left):
                super().delete(key)
            readable = sum(one.info is not None for one in left)
            raise BucketError(f"{readable} versions of {key} remain and can be read: {why}; {RIGHTS}")

    def keeps_versions(self) -> bool:
        """Return whether the bucket keeps or kept versions; if it may not be asked, a written probe tells."""
        try:
            with self._translate_errors("the versioning"):
                return bool(self._client.get_bucket_versioning(Bucket=self.name).get("Status"))
        except StoreUnavailable:
            raise
        except BucketError:
            return self._keeps_probes()

    def require_versions(self) -> None:
        """Raise BucketError if the versions may not be listed."""
        try:
            next(self.list(""), None)
        except StoreUnavailable:
            raise
        except BucketError as error:
            raise BucketError(f"{self.address} keeps old versions that this role may not list; {RIGHTS}") from error

    def _keeps_probes(self) -> bool:
        target = {"Bucket": self.name, "Key": self._full_key(f"{keys.PROBES}{secrets.token_hex(8)}")}
        with self._translate_errors(target["Key"]):
            version = self._client.put_object(**target, Body=b"1").get("VersionId")
            self._client.delete_object(**target)
        return version is not None

    def _newest(self, key: str) -> Iterator[bytes]:
        for one in self._versions_of(key):
            if one.info is not None:
                with self._translate_errors(key):
                    target = {"Bucket": self.name, "Key": self._existing_key(key), "VersionId": one.identity}
                    body = self._client.get_object(**target)["Body"]
                    with body:
                        yield from body.iter_chunks(PIECE)
                return
        raise MissingObject(f"no object {key} in {self.address}")

    def _versions_of(self, key: str) -> Sequence[_Version]:
        """Return what is kept of one key, the newest first."""
        self._existing_key(key)  # raises InvalidKey
        found = list[_Version]()
        for one in self._versions(key):
            if one.key != key:
                break  # sorted: only longer keys follow
            found.append(one)
        return found

    def _versions(self, prefix: str) -> Iterator[_Version]:
        """Yield versions and markers sorted by key, the newest first."""
        place = {"Bucket": self.name, "Prefix": self.prefix + prefix}
        with self._translate_errors(prefix):
            for page in self._client.get_paginator("list_object_versions").paginate(**place):
                found = [self._version(entry, marker=False) for entry in page.get("Versions", [])]
                found += [self._version(entry, marker=True) for entry in page.get("DeleteMarkers", [])]
                # a stable sort: within each kind the newest comes first, and `latest` tells which kind is newer
                yield from sorted(found, key=lambda one: one.key)

    def _version(self, entry: Any, marker: bool) -> _Version:
        key, identity = entry["Key"].removeprefix(self.prefix), entry["VersionId"]
        info = None if marker else ObjectInfo(key, entry["Size"], identity, entry["LastModified"].timestamp())
        return _Version(key, identity, entry["IsLatest"], info)


def _describe(key: str, versions: Sequence[_Version]) -> ObjectInfo:
    """Return the newest version with content, or an empty stand-in if there is none."""
    return next((one.info for one in versions if one.info is not None), ObjectInfo(key, 0, "deleted", 0.0))
