"""A versioned bucket of S3 with all that it still keeps: an object is there for as long as any version of it is.

| of a key there is | list and head tell | get gives | delete removes |
|---|---|---|---|
| an object, and older versions | the object | the object | every version |
| a delete marker, and older versions | the newest of them | the newest of them | the versions and the markers |
| delete markers alone | an empty object | nothing: MissingObject | the markers |

Where versions may not be removed, the object itself still gets its delete marker, and BucketError says how many remain.
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
    """The objects of a versioned bucket and what was deleted of it; writing goes to the bucket as ever."""

    def get(self, key: str, largest: int | None = None) -> bytes:
        """As of any bucket; of a deleted object its newest version."""
        try:
            return super().get(key, largest)
        except MissingObject:
            return read_bounded(key, b"".join(self._newest(key)), largest)

    def stream(self, key: str) -> Iterator[bytes]:
        """As of any bucket; of a deleted object its newest version."""
        try:
            yield from super().stream(key)
        except MissingObject:
            yield from self._newest(key)

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """Every key of which anything is kept."""
        for key, versions in groupby(self._versions(check_prefix(prefix)), key=lambda one: one.key):
            if key <= after:
                continue
            info = _told(key, list(versions))
            if self._misnamed.is_listed(key, info.size):  # nobody can ask for what cannot be named
                yield info

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object, or of what is kept of it."""
        versions = self._of(key)
        return _told(key, versions) if versions else None

    def delete(self, key: str) -> None:
        """Remove the object with every version and marker; BucketError says how many remain."""
        versions, left, why = self._of(key), list[_Version](), ""
        for one in sorted(versions, key=lambda one: one.latest):  # the object itself last: a marker takes its place
            try:
                with self._explained(key):
                    self._client.delete_object(Bucket=self.name, Key=self._existing(key), VersionId=one.identity)
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
        """Whether it does or ever did; where that may not be asked, a probe that is written tells."""
        try:
            with self._explained("the versioning"):
                return bool(self._client.get_bucket_versioning(Bucket=self.name).get("Status"))
        except StoreUnavailable:
            raise
        except BucketError:
            return self._keeps_probes()

    def require_versions(self) -> None:
        """BucketError where the versions may not be listed."""
        try:
            next(self.list(""), None)
        except StoreUnavailable:
            raise
        except BucketError as error:
            raise BucketError(f"{self.address} keeps old versions, which this role may not see; {RIGHTS}") from error

    def _keeps_probes(self) -> bool:
        target = {"Bucket": self.name, "Key": self._full(f"{keys.PROBES}{secrets.token_hex(8)}")}
        with self._explained(target["Key"]):
            version = self._client.put_object(**target, Body=b"1").get("VersionId")
            self._client.delete_object(**target)
        return version is not None

    def _newest(self, key: str) -> Iterator[bytes]:
        for one in self._of(key):
            if one.info is not None:
                with self._explained(key):
                    target = {"Bucket": self.name, "Key": self._existing(key), "VersionId": one.identity}
                    body = self._client.get_object(**target)["Body"]
                    with body:
                        yield from body.iter_chunks(PIECE)
                return
        raise MissingObject(f"no object {key} in {self.address}")

    def _of(self, key: str) -> Sequence[_Version]:
        """What is kept of one key, the newest first."""
        self._existing(key)  # InvalidKey
        found = list[_Version]()
        for one in self._versions(key):
            if one.key != key:
                break  # sorted: only longer keys follow
            found.append(one)
        return found

    def _versions(self, prefix: str) -> Iterator[_Version]:
        """Versions and markers sorted by key, the newest first."""
        place = {"Bucket": self.name, "Prefix": self.prefix + prefix}
        with self._explained(prefix):
            for page in self._client.get_paginator("list_object_versions").paginate(**place):
                found = [self._version(entry, marker=False) for entry in page.get("Versions", [])]
                found += [self._version(entry, marker=True) for entry in page.get("DeleteMarkers", [])]
                # stable: of either kind the newest comes first, and which kind is newer is told by `latest`
                yield from sorted(found, key=lambda one: one.key)

    def _version(self, entry: Any, marker: bool) -> _Version:
        key, identity = entry["Key"].removeprefix(self.prefix), entry["VersionId"]
        info = None if marker else ObjectInfo(key, entry["Size"], identity, entry["LastModified"].timestamp())
        return _Version(key, identity, entry["IsLatest"], info)


def _told(key: str, versions: Sequence[_Version]) -> ObjectInfo:
    """The newest version that has content, or that there is none."""
    return next((one.info for one in versions if one.info is not None), ObjectInfo(key, 0, "deleted", 0.0))
