"""A bucket of S3, or of a store that speaks its protocol: MinIO, Ceph, R2, OSS.

| call | how it is exclusive or atomic |
|---|---|
| put_if_absent | `If-None-Match: *`, on OSS `x-oss-forbid-overwrite: true`; also on CompleteMultipartUpload |
| refused: 412, 409 FileAlreadyExists | lost, unless the object has our nonce: then an earlier try of ours had won |
| undecided: 409 ConditionalRequestConflict | a race of two, undecided: tried again after a pause |
| put of more than one part | multipart; the object appears whole when completed, and is aborted on any failure |
| get that breaks off, times out or has a wrong checksum | read again, up to READS times |

Every failure is raised as a BucketError; as StoreUnavailable if other keys would fail too.

boto3 in threads does what profits from concurrency: the parts of an object, many objects at once, and whatever its
callers do beside each other. An asynchronous client gains nothing on that: 900 calls with 40 ms of latency, 16 at a
time, cost 1.4 to 1.7 ms of CPU each with boto3 in threads and 1.8 ms with aiobotocore 3.10, and took no longer.
"""

import base64
import hashlib
import http.client
import itertools
import random
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from shared.buckets.aws_clients import GET_CREDENTIALS, S3Settings, client, region
from shared.buckets.base import (
    Bucket,
    BucketError,
    MissingObject,
    ObjectInfo,
    StoreAbsent,
    StoreMisconfigured,
    StoreUnavailable,
    check_folder,
    check_key,
    check_prefix,
    is_usable_key,
    read_bounded,
)
from shared.buckets.misnamed import NO_KEY, Misnamed, is_misnamed_manifest, is_misspelled, names

NONCE = "photog-nonce"  # user metadata
PIECE = 1024 * 1024  # bytes of a stream read at a time
OBJECTS = 8  # written concurrently; botocore keeps ten connections
UPLOADS = 4  # parts sent concurrently
CONFLICTS = 8  # undecided races after which the store counts as broken
ABSENT = {"404", "NoSuchKey", "NotFound"}
REFUSED = {"412", "PreconditionFailed", "FileAlreadyExists"}
UNDECIDED = {"409", "ConditionalRequestConflict", "OperationAborted"}
FORBIDDEN = {"403", "AccessDenied"}
OF_THE_STORE = {
    "NoSuchBucket",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "SignatureDoesNotMatch",
    "SlowDown",
    "TokenRefreshRequired",
}
"""Codes below 500 that every key would get at the moment."""
NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
DEEPEST = 8  # levels of nested folders without a real name
MOST_PAGES = 20  # of a folder's names that are searched for misspelled ones
READS = 3  # of an object whose body breaks off; botocore itself retries only until the headers have arrived
UPLOAD_SECONDS = 3600.0  # no upload takes this long; an older one was left by a dead writer
FAILURES = (
    ClientError,
    BotoCoreError,
    ResponseParserError,
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # an answer that cannot be parsed, as from a proxy
    KeyError,  # or that lacks a required member
)


class S3Bucket(Bucket):
    """The objects of bucket `name` whose keys begin with `prefix`, which callers never see."""

    def __init__(self, name: str, settings: S3Settings, prefix: str = "") -> None:
        self.name, self.settings = name, settings
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.address = f"s3://{name}/{self.prefix}".rstrip("/")
        self._misnamed = Misnamed()
        self._client = self._creator = self._connect()
        self._condition = {"IfNoneMatch": "*"}
        if settings.conditions == "oss-forbid-overwrite":  # boto3 has no argument for this header
            self._creator, self._condition = self._connect(), {}
            for operation in ("PutObject", "CompleteMultipartUpload"):
                self._creator.meta.events.register(f"before-sign.s3.{operation}", _forbid_overwrite)

    def get(self, key: str, largest: int | None = None) -> bytes:
        cut: Exception | None = None
        for number in range(READS):
            if cut is not None:
                time.sleep(random.uniform(0, 0.1 * 2**number))
            with self._translate_errors(key):
                body = self._open(key)
            try:
                with body:
                    data: bytes = body.read() if largest is None else body.read(largest + 1)
                    return read_bounded(key, data, largest)
            except FAILURES as error:
                cut = error
        raise StoreUnavailable(f"{key} in {self.address} broke off {READS} times: {cut}") from cut

    def stream(self, key: str) -> Iterator[bytes]:
        with self._translate_errors(key):
            body = self._open(key)
            with body:
                yield from body.iter_chunks(PIECE)

    def put(self, key: str, data: bytes) -> None:
        with self._translate_errors(key):
            self._upload(self._client, key, data, secrets.token_hex(12), {})

    def put_if_absent(self, key: str, data: bytes) -> bool:
        nonce = secrets.token_hex(12)
        for conflict in range(CONFLICTS):
            try:
                self._upload(self._creator, key, data, nonce, self._condition)
            except ClientError as error:
                code = _code(error)
                if code in REFUSED:
                    return self._nonce(key) == nonce
                if code not in UNDECIDED:
                    raise self._error(key, error) from error
                time.sleep(random.uniform(0, 0.05 * 2**conflict))
            except FAILURES as error:
                raise self._error(key, error) from error
            else:
                return True
        raise BucketError(f"{self.address} failed {CONFLICTS} times in a row to decide which writer creates {key}")

    def put_all(self, objects: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(OBJECTS) as pool:
            list(pool.map(self.put, objects, objects.values()))

    def put_all_if_absent(self, objects: Mapping[str, bytes]) -> Set[str]:
        with ThreadPoolExecutor(OBJECTS) as pool:
            written = list(pool.map(self.put_if_absent, objects, objects.values()))
        return {key for key, ours in zip(objects, written, strict=True) if ours}

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        begin = {"StartAfter": self.prefix + after} if after else {}
        for page in self._pages(check_prefix(prefix), begin):
            with self._translate_errors(prefix):
                named = [(entry["Key"].removeprefix(self.prefix), entry) for entry in page.get("Contents", [])]
                infos = [
                    _info(key, entry, entry["Size"])
                    for key, entry in named
                    if self._misnamed.is_listed(key, entry["Size"])
                ]
            yield from infos

    def folders(self, prefix: str) -> Iterator[str]:
        begin = len(self.prefix) + len(check_folder(prefix))
        for page in self._pages(prefix, {"Delimiter": "/"}):
            # sorted here too, because not every store sorts them within a page
            for prefix_found in sorted(entry["Prefix"] for entry in page.get("CommonPrefixes", [])):
                name = prefix_found[begin:-1]
                if is_usable_key(name):
                    yield name

    def find_unlisted(self, folder: str, deep: bool = True) -> Iterator[tuple[str, str]]:
        for key in sorted(self._misnamed.kept):
            below = key.removeprefix(check_folder(folder))
            if below != key and (deep or "/" not in below):
                if self._exists(key):
                    yield key, NO_KEY
                else:
                    self._misnamed.kept.discard(key)

    def find_misspelled(self, root: str) -> Iterator[str]:
        yield from self._find_misspelled(root, "", DEEPEST)

    def delete(self, key: str) -> None:
        with self._translate_errors(key):
            self._client.delete_object(Bucket=self.name, Key=self._existing_key(key))

    def head(self, key: str) -> ObjectInfo | None:
        found = self._head(key)
        if found is None:
            return None
        with self._translate_errors(key):
            return _info(key, found, found["ContentLength"])

    def sign_put(self, key: str, content_type: str, seconds: int) -> str:
        """Return a URL by which anybody may put an object of this type under this key, for so many seconds."""
        target = {"Bucket": self.name, "Key": self._full_key(key), "ContentType": content_type}
        with self._translate_errors(key):
            return str(self._signer().generate_presigned_url("put_object", Params=target, ExpiresIn=seconds))

    def collect(self, prefixes: Sequence[str] = ()) -> Sequence[str]:
        removed = []
        with self._translate_errors("the list of unfinished uploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=self.prefix)
            for upload in (one for page in pages for one in page.get("Uploads", [])):
                key = upload["Key"].removeprefix(self.prefix)
                stale = time.time() - upload["Initiated"].timestamp() > UPLOAD_SECONDS
                if stale or key.startswith(tuple(prefixes)):
                    target = {"Bucket": self.name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                    self._client.abort_multipart_upload(**target)
                    removed.append(f"unfinished upload of {key}")
        return removed

    def _find_misspelled(self, root: str, below: str, depth: int) -> Iterator[str]:
        """Yield like `find_misspelled`, within a folder whose key has no real name, such as / or ./"""
        for page in itertools.islice(self._pages(below, {"Delimiter": "/"}), MOST_PAGES):
            found = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            found += [entry["Key"] for entry in page.get("Contents", []) if entry["Size"]]
            for key in (one.removeprefix(self.prefix) for one in found):
                if is_misspelled(key, root):
                    yield from self._raw(key) if key.endswith("/") else [key]
                elif depth and key.endswith("/") and not names(key):
                    yield from self._find_misspelled(root, key, depth - 1)

    def _raw(self, prefix: str) -> Iterator[str]:
        """Yield keys of non-empty objects below a prefix that need not be usable."""
        for page in self._pages(prefix, {}):
            yield from (one["Key"].removeprefix(self.prefix) for one in page.get("Contents", []) if one["Size"])

    def _exists(self, key: str) -> bool:
        """Return whether an object exists under an unusable key, which not every client can request by name."""
        return key in itertools.islice(self._raw(key), 1)

    def _signer(self) -> Any:
        """Return a client whose URLs ask for no checksum, which their users could not compute beforehand."""
        return client(
            "s3",
            self.settings.endpoint,
            region(self.settings),
            self.settings.tries,
            self.settings.read_seconds,
            signature_version="s3v4",
            s3={"addressing_style": self.settings.addressing},
            request_checksum_calculation="when_required",
        )

    def _connect(self) -> Any:
        crc = "when_supported" if self.settings.checksums == "crc32" else "when_required"
        return client(
            "s3",
            self.settings.endpoint,
            region(self.settings),
            self.settings.tries,
            self.settings.read_seconds,
            connect_timeout=self.settings.connect_seconds,
            s3={"addressing_style": self.settings.addressing},
            request_checksum_calculation=crc,
            response_checksum_validation=crc,
        )

    def _full_key(self, key: str) -> str:
        return check_key(self.prefix + check_key(key))

    def _existing_key(self, key: str) -> str:
        """Return the full key of an object that is only read or removed; see `misnamed.py`."""
        return self.prefix + key if is_misnamed_manifest(key) else self._full_key(key)

    def _open(self, key: str) -> Any:
        return self._client.get_object(Bucket=self.name, Key=self._existing_key(key))["Body"]

    def _pages(self, prefix: str, more: dict[str, str]) -> Iterator[Any]:
        with self._translate_errors(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.name, Prefix=self.prefix + prefix, **more)

    def _nonce(self, key: str) -> str | None:
        """Return the nonce of the object's writer.

        None if the object is gone: then it was another writer's, and was deleted.
        """
        found = self._head(key)
        return None if found is None else found["Metadata"].get(NONCE)

    def _head(self, key: str) -> Any:
        full = self._existing_key(key)
        try:
            with self._translate_errors(key):
                return self._client.head_object(Bucket=self.name, Key=full)
        except MissingObject:
            return None

    def _upload(self, by: Any, key: str, data: bytes, nonce: str, condition: dict[str, str]) -> None:
        target = {"Bucket": self.name, "Key": self._full_key(key)}
        if len(data) <= self.settings.part_bytes:
            by.put_object(**target, Body=data, Metadata={NONCE: nonce}, **self._sum(data), **condition)
            return
        algorithm = {"ChecksumAlgorithm": "CRC32"} if self.settings.checksums == "crc32" else {}
        begun = by.create_multipart_upload(**target, Metadata={NONCE: nonce}, **algorithm)
        upload = target | {"UploadId": begun["UploadId"]}
        try:
            parts = self._send_parts(by, upload, data)
            by.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
        except BaseException as error:  # on any error: unfinished parts are invisible and cost money
            if _code(error) == "NoSuchUpload" and self._nonce(key) == nonce:
                return  # an earlier try, whose answer was lost, had completed it
            with suppress(*FAILURES):
                by.abort_multipart_upload(**upload)
            raise

    def _send_parts(self, by: Any, upload: dict[str, str], data: bytes) -> Sequence[dict[str, Any]]:
        algorithm = {"ChecksumAlgorithm": "CRC32"} if self.settings.checksums == "crc32" else {}
        view, size = memoryview(data), self.settings.part_bytes

        def send(number: int) -> dict[str, Any]:
            part = bytes(view[(number - 1) * size : number * size])
            sent = by.upload_part(**upload, PartNumber=number, Body=part, **algorithm, **self._sum(part))
            sums = {name: sent[name] for name in ("ChecksumCRC32",) if name in sent}
            return {"PartNumber": number, "ETag": sent["ETag"], **sums}

        with ThreadPoolExecutor(UPLOADS) as pool:
            return list(pool.map(send, range(1, -(-len(data) // size) + 1)))

    def _sum(self, data: bytes) -> dict[str, str]:
        if self.settings.checksums == "crc32":
            return {}  # botocore adds it
        return {"ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()}

    @contextmanager
    def _translate_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise self._error(key, error) from error

    def _error(self, key: str, error: Exception) -> BucketError:
        if not isinstance(error, ClientError):
            return self._error_without_reply(key, error)
        code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in ABSENT:
            return MissingObject(f"no object {key} in {self.address}")
        if code == "NoSuchBucket":
            return StoreAbsent(f"there is no bucket {self.name}; make it, or correct the address {self.address}")
        if code in FORBIDDEN:
            return BucketError(
                f"{key} in {self.address}: access denied; the role needs s3:GetObject, s3:PutObject, s3:DeleteObject "
                "and s3:ListBucket (without which a missing object looks forbidden); `photog forget` also needs "
                "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload"
            )
        away = code in OF_THE_STORE or status == 429 or not 400 <= status < 500
        return (StoreUnavailable if away else BucketError)(f"{key} in {self.address}: {error}")

    def _error_without_reply(self, key: str, error: Exception) -> BucketError:
        if isinstance(error, NO_CREDENTIALS):
            return StoreMisconfigured(f"{self.address}: {error}; {GET_CREDENTIALS}")
        if isinstance(error, ParamValidationError):  # of the bucket's name, as keys are checked before
            return StoreMisconfigured(f"{self.address} cannot be a bucket: {error}")
        return StoreUnavailable(f"{key} in {self.address}: {str(error) or type(error).__name__}")


def _forbid_overwrite(request: Any, **context: Any) -> None:
    request.headers["x-oss-forbid-overwrite"] = "true"


def _code(error: BaseException) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _info(key: str, entry: Any, size: int) -> ObjectInfo:
    return ObjectInfo(key, size, entry["ETag"].strip('"'), entry["LastModified"].timestamp())
