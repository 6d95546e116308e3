"""Behavior that only a store over a network has: lost answers, undecided races, parts, stores that lie."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from botocore.awsrequest import AWSResponse
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from shared.buckets import BucketError, FolderBucket, MissingObject, open_bucket
from shared.buckets.aws_clients import S3Settings
from shared.buckets.conditional_writes import honors_conditions, require_conditions
from shared.buckets.s3 import S3Bucket
from tests.cloud import REGION

PART = 5 << 20
LARGE = bytes(range(256)) * (12 << 12)  # 12 MiB: three parts


@pytest.fixture
def bucket(cloud) -> S3Bucket:
    return S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION, part_bytes=PART))


class Meddler:
    """Sees what a bucket sends to its store, and changes what comes back, by botocore's events."""

    def __init__(self, bucket: S3Bucket, operation: str, respond: Callable[[int], tuple[int, str] | None]) -> None:
        self.headers: list[dict[str, str]] = []
        self._respond, self._calls = respond, 0
        bucket._creator.meta.events.register(f"before-send.s3.{operation}", self._sent)

    def _sent(self, request, **context):
        self.headers.append(dict(request.headers))
        self._calls += 1
        refusal = self._respond(self._calls)
        if refusal is None:
            return None
        return response(request, *refusal)


def response(request, status: int, code: str):
    body = f"<Error><Code>{code}</Code><Message>made up</Message></Error>".encode()
    raw = type("Raw", (), {"stream": lambda self, **options: iter([body])})()
    return AWSResponse(request.url, status, {}, raw)


def test_a_large_object_goes_up_in_parts_and_only_once(bucket, cloud):
    assert bucket.put_if_absent("k/large", LARGE) is True
    assert bucket.put_if_absent("k/large", LARGE[::-1]) is False
    assert bucket.get("k/large") == LARGE
    assert bucket.head("k/large").etag.endswith("-3")
    bucket.put("k/large", LARGE[1:])
    assert bucket.get("k/large") == LARGE[1:]
    assert "Uploads" not in cloud.client("s3").list_multipart_uploads(Bucket=bucket.name), "the loser's parts are gone"


def test_a_race_that_the_store_does_not_decide_is_asked_again(bucket):
    meddler = Meddler(bucket, "PutObject", lambda call: (409, "ConditionalRequestConflict") if call < 4 else None)
    assert bucket.put_if_absent("k/v", b"mine") is True
    assert len(meddler.headers) == 4
    assert {headers["If-None-Match"] for headers in meddler.headers} == {b"*"}


def test_a_store_that_never_decides_is_an_error(bucket, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    Meddler(bucket, "PutObject", lambda call: (409, "ConditionalRequestConflict"))
    with pytest.raises(BucketError, match="8 times"):
        bucket.put_if_absent("k/v", b"mine")


def test_a_put_that_won_but_whose_answer_was_lost_is_known_for_ours(bucket, cloud):
    """The first try is written but its answer is lost; the retry finds our own object and is refused."""

    bucket._creator.meta.events.register_first("needs-retry.s3.PutObject", retry_once := RetryOnce())
    assert bucket.put_if_absent("k/v", b"mine") is True
    assert retry_once.calls == 2, "there was a second try, and the store refused it"
    assert bucket.get("k/v") == b"mine"
    assert bucket.put_if_absent("k/v", b"mine") is False, "the same bytes by another call are not ours"


class RetryOnce:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, response, attempts, **context):
        self.calls += 1
        return 0 if attempts == 1 else None


def test_oss_is_asked_by_its_own_header_which_is_signed_and_its_refusal_is_understood(cloud):
    settings = S3Settings(
        endpoint=cloud.endpoint, region=REGION, part_bytes=PART, conditions="oss-forbid-overwrite", checksums="md5"
    )
    bucket = S3Bucket(cloud.bucket(), settings)
    meddler = Meddler(bucket, "PutObject", lambda call: None if call == 1 else (409, "FileAlreadyExists"))
    assert bucket.put_if_absent("k/v", b"1") is True
    assert bucket.put_if_absent("k/v", b"2") is False
    for headers in meddler.headers:
        assert headers["x-oss-forbid-overwrite"] in ("true", b"true")
        assert b"x-oss-forbid-overwrite" in headers["Authorization"], "or the gateway would drop the request"
        assert "If-None-Match" not in headers
        assert "Content-MD5" in headers
        assert not [name for name in headers if name.lower().startswith("x-amz-checksum")]
    parts = Meddler(bucket, "CompleteMultipartUpload", lambda call: (409, "FileAlreadyExists"))
    assert bucket.put_if_absent("k/large", LARGE) is False
    assert parts.headers[0]["x-oss-forbid-overwrite"] in ("true", b"true")
    bucket.put("k/v", b"3")
    assert bucket.get("k/v") == b"3", "a plain put carries no such header"


def test_a_store_that_ignores_conditions_is_refused_at_the_start(cloud):
    liar = S3Bucket(
        cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION, conditions="oss-forbid-overwrite")
    )
    assert honors_conditions(liar) is False  # moto does not know OSS's header, as a versioned OSS bucket does not
    with pytest.raises(BucketError, match="oss-forbid-overwrite"):
        require_conditions(liar)
    assert list(liar.list("")) == [], "the probe leaves nothing"


def test_every_store_that_honors_conditions_is_accepted(bucket, tmp_path):
    require_conditions(bucket)
    require_conditions(FolderBucket(tmp_path))


def test_folder_markers_of_other_tools_are_not_listed(bucket, cloud):
    for key in ("requests/", "requests/check/", "a//b", "requests/check/r.json"):
        cloud.client("s3").put_object(Bucket=bucket.name, Key=key, Body=b"")
    assert [info.key for info in bucket.list("")] == ["requests/check/r.json"]


def test_more_objects_than_a_page_holds_are_listed(bucket):
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # a thousand puts over HTTP would be most of the time
    for number in range(1005):
        store.put_object(bucket.name, f"many/{number:04d}", b"x")
    assert [info.key for info in bucket.list("many/")] == [f"many/{number:04d}" for number in range(1005)]


@contextmanager
def broken_store(status: int, body: bytes = b"") -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        calls: int = 0

        def do_GET(self) -> None:
            type(self).calls += 1
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + 5))  # more than comes
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [500, 403, 200])
def test_a_store_that_fails_or_breaks_off_is_an_error_that_names_bucket_and_key(cloud, status):
    with broken_store(status, b"beginning") as endpoint:
        bucket = S3Bucket("b", S3Settings(endpoint=endpoint, region=REGION, tries=2, addressing="path"))
        with pytest.raises(BucketError, match="k/v in s3://b"):
            bucket.get("k/v")


def test_nobody_listening_is_an_error_and_no_missing_object(cloud):
    bucket = S3Bucket("b", S3Settings(endpoint="http://127.0.0.1:9", region=REGION, tries=1))
    with pytest.raises(BucketError) as caught:
        bucket.head("k/v")
    assert not isinstance(caught.value, MissingObject)


@pytest.mark.parametrize("address", ["ftp://x", "s3://", "s3://b?x=1", "https://bucket.s3.amazonaws.com"])
def test_what_is_no_bucket_s_address_is_refused(address):
    with pytest.raises(BucketError, match="is not a bucket"):
        open_bucket(address)


def test_an_endpoint_that_cannot_be_one_is_refused_by_name(cloud):
    with pytest.raises(BucketError, match="nowhere"):
        open_bucket("s3://b", S3Settings(endpoint="nowhere"))


def test_no_folder_needs_boto3():
    code = (
        "import shared.cli, shared.runtime.worker, sys; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
