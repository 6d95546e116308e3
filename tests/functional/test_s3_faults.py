"""A store that refuses, stalls, breaks off or sends nonsense: always a bucket error, never a guess."""

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from shared.buckets import Bucket, BucketError, MissingObject, StoreUnavailable
from shared.buckets.aws_clients import S3Settings
from shared.buckets.s3 import READS, S3Bucket
from tests.cloud import REGION

Reply = Callable[[http.server.BaseHTTPRequestHandler, int], None]


@contextmanager
def store(reply: Reply) -> Iterator[S3Bucket]:
    """A bucket of a store that answers every request with `reply`, which gets the number of earlier requests."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            calls.append(self.command)
            self.close_connection = True
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply(self, len(calls) - 1)

        def log_message(self, *arguments: object) -> None:
            pass

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    settings = S3Settings(
        endpoint=f"http://127.0.0.1:{server.server_port}", region=REGION, tries=1, addressing="path", read_seconds=0.2
    )
    try:
        bucket = S3Bucket("b", settings)
        bucket.calls = calls  # type: ignore[attr-defined]
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


def whole(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, announced: int = 0) -> None:
    handler.send_response(status)
    handler.send_header("Connection", "close")
    handler.send_header("ETag", '"e"')
    handler.send_header("Last-Modified", formatdate(time.time(), usegmt=True))
    handler.send_header("Content-Length", str(announced or len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def says(status: int, code: str) -> Reply:
    return lambda handler, number: whole(
        handler, f"<Error><Code>{code}</Code><Message>made up</Message></Error>".encode(), status
    )


def cut(handler, number: int) -> None:
    whole(handler, b"begin", announced=500)


def stalled(handler, number: int) -> None:
    whole(handler, b"begin", announced=500)
    handler.wfile.flush()
    time.sleep(0.3)


def chunked(handler, number: int) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\nbegin\r\nzz")


def reset(handler, number: int) -> None:
    whole(handler, b"begin", announced=500)
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def nonsense(handler, number: int) -> None:
    handler.wfile.write(b"220 this is a mail server\r\n")


def a_page(handler, number: int) -> None:
    whole(handler, b"<html>please log in")


def bare(handler, number: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def all_calls(bucket: Bucket) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: bucket.get("k/v"),
        "stream": lambda: list(bucket.stream("k/v")),
        "head": lambda: bucket.head("k/v"),
        "put": lambda: bucket.put("k/v", b"x"),
        "put_if_absent": lambda: bucket.put_if_absent("k/v", b"x"),
        "list": lambda: list(bucket.list("k/")),
        "folders": lambda: list(bucket.folders("k/")),
        "delete": lambda: bucket.delete("k/v"),
        "collect": lambda: bucket.collect(),
    }


@pytest.mark.parametrize(
    "reply",
    [says(500, "InternalError"), says(503, "SlowDown"), says(403, "ExpiredToken"), says(429, "TooMany"), nonsense],
    ids=["500", "503", "expired", "429", "nonsense"],
)
def test_a_store_that_does_not_serve_is_unavailable_whatever_is_asked(cloud, reply):
    with store(reply) as bucket:
        for name, call in all_calls(bucket).items():
            expected = BucketError if name == "head" else StoreUnavailable  # the answer to HEAD has no code to read
            with pytest.raises(expected, match="s3://b") as caught:
                call()
            assert not isinstance(caught.value, MissingObject)


def test_what_is_forbidden_is_an_error_of_its_key_and_not_of_the_store(cloud):
    with store(says(403, "AccessDenied")) as bucket:
        for call in all_calls(bucket).values():
            with pytest.raises(BucketError, match="the role needs") as caught:
                call()
            assert not isinstance(caught.value, StoreUnavailable | MissingObject)


def test_a_bucket_that_is_not_there_is_no_missing_object(cloud):
    with store(says(404, "NoSuchBucket")) as bucket:
        for name, call in all_calls(bucket).items():
            if name != "head":
                with pytest.raises(StoreUnavailable, match="there is no bucket b; make it"):
                    call()


@pytest.mark.parametrize("reply", [cut, stalled, chunked, reset])
def test_a_body_that_breaks_off_is_read_anew_and_is_never_taken_for_whole(cloud, reply):
    with store(lambda handler, number: (reply if number < READS - 1 else a_body)(handler, number)) as bucket:
        assert bucket.get("k/v") == b"the whole of it"
        assert len(bucket.calls) == READS
    with store(reply) as bucket:
        with pytest.raises(StoreUnavailable, match="k/v in s3://b broke off"):
            bucket.get("k/v")
        with pytest.raises(StoreUnavailable, match="k/v in s3://b"):
            list(bucket.stream("k/v"))


def a_body(handler, number: int) -> None:
    whole(handler, b"the whole of it")


@pytest.mark.parametrize("reply", [a_page, bare])
def test_answers_that_are_not_a_store_s_are_errors(cloud, reply):
    with store(reply) as bucket:
        for name in ("list", "folders", "collect") if reply is a_page else ("head",):
            with pytest.raises(StoreUnavailable):
                all_calls(bucket)[name]()


def test_uploads_of_dead_writers_are_collected_and_those_of_the_living_are_not(cloud, monkeypatch):
    name, client = cloud.bucket(), cloud.client("s3")
    settings = S3Settings(endpoint=cloud.endpoint, region=REGION)
    bucket, other = S3Bucket(name, settings, "site"), S3Bucket(name, settings, "elsewhere")
    for key in ("site/results/train/t/a1/l", "site/results/train/x/a1/l", "elsewhere/l"):
        client.create_multipart_upload(Bucket=name, Key=key)
    begun = client.list_multipart_uploads(Bucket=name)["Uploads"][0]["Initiated"].timestamp()
    monkeypatch.setattr(time, "time", lambda: begun + 60)
    assert bucket.collect() == [], "their writers may live"
    assert bucket.collect(["results/train/t/"]) == ["unfinished upload of results/train/t/a1/l"]
    monkeypatch.setattr(time, "time", lambda: begun + 4000)
    assert bucket.collect() == ["unfinished upload of results/train/x/a1/l"]
    assert other.collect() == ["unfinished upload of l"]


def test_many_folders_cost_no_listing_of_what_lies_in_them(cloud):
    bucket = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION), "site")
    for number in range(12):
        bucket.put(f"r/{number:02}/result.json", b"x")
    asked = []
    bucket._client.meta.events.register("before-send.s3.ListObjectsV2", lambda request, **more: asked.append(request))
    assert len(list(bucket.folders("r/"))) == 12
    assert len(asked) == 1
