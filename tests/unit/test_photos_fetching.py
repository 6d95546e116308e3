"""Fetching: pictures from a real server on this machine, and references that are refused."""

import logging
import socket
import threading
import time
from base64 import b64encode
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.errors import PhotoError, PhotoTooLarge, PhotoUnavailable
from shared.photos import PhotoFetcher, addresses
from shared.settings import Limits

PICTURE = bytes(range(256)) * 40
KILOBYTE = 1024


class PhotoHandler(BaseHTTPRequestHandler):
    """Answers by path as the tests need it; `hits` counts the requests of each path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.hits[self.path] += 1
        self.server.hosts.append(self.headers["Host"])
        getattr(self, "serve_" + self.path.split("/")[1], self.serve_missing)(self.path.split("/", 2)[-1])

    def serve_photo(self, rest):
        self._answer(200, {"Content-Length": len(PICTURE)}, PICTURE)

    def serve_missing(self, rest):
        self._answer(404, {"Content-Length": 0})

    def serve_status(self, rest):
        status, _, after = rest.partition("/")
        self._answer(int(status), {"Content-Length": 0} | ({"Retry-After": after} if after else {}))

    def serve_cut(self, rest):
        self._answer(200, {"Content-Length": len(PICTURE)}, PICTURE[:100])
        self.close_connection = True

    def serve_to(self, rest):
        self._answer(302, {"Location": rest, "Content-Length": 0})

    def serve_loop(self, rest):
        self._answer(302, {"Location": f"/loop/{int(rest) + 1}", "Content-Length": 0})

    def serve_announced(self, rest):
        self._answer(200, {"Content-Length": 10**9})

    def serve_endless(self, rest):
        self._answer(200, {"Connection": "close"})
        try:
            while True:
                self.wfile.write(b"x" * KILOBYTE)
                self.server.sent += KILOBYTE
        except OSError:
            self.close_connection = True

    def serve_drip(self, rest):
        self._answer(200, {"Content-Length": 1000})
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def serve_together(self, rest):
        self.server.together.wait(timeout=5)
        self.serve_photo(rest)

    def serve_zipped(self, rest):
        self._answer(200, {"Content-Length": len(PICTURE), "Content-Encoding": "gzip"}, PICTURE)

    def _answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class PhotoServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32


@pytest.fixture
def server():
    server = PhotoServer(("127.0.0.1", 0), PhotoHandler)
    server.hits, server.hosts, server.sent = Counter(), [], 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def nothing(key):
    return None


def fetcher(read_key=nothing, allow_private=True, **more) -> PhotoFetcher:
    limits = Limits(photo_bytes=64 * KILOBYTE, fetch_seconds=2.0)
    return PhotoFetcher(more.pop("limits", limits), allow_private, read_key, **more)


def refusal(found, kind=PhotoUnavailable) -> str:
    (error,) = found
    assert type(error) is kind, error
    return error.message


def test_photos_come_in_the_order_of_their_references_and_each_is_fetched_once(server):
    keys = {"photos/a.jpg": b"a"}
    found = fetcher(keys.get).fetch([server.url + "/photo/1", "photos/a.jpg", server.url + "/photo/1", "photos/b.jpg"])
    assert found[:3] == [PICTURE, b"a", PICTURE]
    assert "photos/b.jpg is not in the bucket" in found[3].message
    assert server.hits["/photo/1"] == 1


def test_all_photos_of_a_request_are_fetched_at_once(server):
    server.together = threading.Barrier(8)  # nobody is answered before all have asked
    limits = Limits(fetch_seconds=10)
    assert fetcher(limits=limits).fetch([f"{server.url}/together/{index}" for index in range(8)]) == [PICTURE] * 8


def test_data_urls_are_photos_too():
    encoded = b64encode(PICTURE).decode()
    assert fetcher().fetch([f"data:image/jpeg;base64,{encoded}", "data:,a%20b"]) == [PICTURE, b"a b"]
    assert "data:" in refusal(fetcher().fetch(["data:image/png;base64,a!b"]))
    refusal(fetcher().fetch(["data:image/png;base64," + "A" * 100 * KILOBYTE]), PhotoTooLarge)
    assert len(refusal(fetcher().fetch(["data:image/png" + "A" * 100 * KILOBYTE]))) < 300


def test_an_object_that_is_too_large_is_not_read():
    read = []
    photos = fetcher(
        lambda key: read.append(key) or b"small",
        buckets={"other": lambda key: read.append(key) or b"small"},
        size_of={"large.jpg": 65 * KILOBYTE, "small.jpg": 5}.get,
        bucket_sizes={"other": lambda key: 10**12},
    )
    refused, small, unknown, other = photos.fetch(["large.jpg", "small.jpg", "unknown.jpg", "s3://other/1.jpg"])
    assert (type(refused), type(other)) == (PhotoTooLarge, PhotoTooLarge)
    assert (small, unknown) == (b"small", b"small")
    assert sorted(read) == ["small.jpg", "unknown.jpg"]


def test_buckets_are_read_by_name_and_others_refused():
    mine, other = {"a b/1.jpg": b"mine"}, {"1.jpg": b"other"}
    photos = fetcher(mine.get, buckets={"mine": mine.get, "other": other.get})
    assert photos.fetch(["s3://mine/a b/1.jpg", "oss://other/1.jpg"]) == [b"mine", b"other"]
    assert "bucket secret is not one" in refusal(photos.fetch(["s3://secret/1.jpg"]))


@pytest.mark.parametrize(
    "key", ["../x.jpg", "a/../../x.jpg", "/etc/passwd", "s3://mine/../x", "s3://mine/", "a\\..\\b", "a\0b"]
)
def test_keys_cannot_leave_the_bucket(key):
    asked = []
    assert "cannot be a key" in refusal(fetcher(asked.append, buckets={"mine": asked.append}).fetch([key]))
    assert asked == []


@pytest.mark.parametrize("reference", ["ftp://a/b.jpg", "file:///etc/passwd", "gopher://a/1"])
def test_other_schemes_are_refused(reference):
    assert "is not an http(s), s3, oss or data URL" in refusal(fetcher(lambda key: b"leak").fetch([reference]))


def test_a_photo_that_is_not_there_says_so(server):
    assert "answered 404" in refusal(fetcher().fetch([server.url + "/missing"]))


def test_a_server_that_is_not_there_says_so():
    assert "cannot be fetched" in refusal(fetcher().fetch(["http://127.0.0.1:9/x.jpg"]))
    assert "cannot be fetched" in refusal(fetcher(resolve=unknown_host).fetch(["http://nowhere.example/x.jpg"]))


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        *((f"status/{status}", 30) for status in (408, 425, 429, 500, 502, 503, 504)),
        *((f"status/{status}", None) for status in (400, 401, 403, 404, 410, 501)),
        ("status/503/7", 7),
        ("status/429/99999", 3600),
        ("cut", 30),
        ("announced", None),
        ("to/ftp://a/b.jpg", None),
    ],
)
def test_a_server_that_fails_for_the_moment_is_worth_another_try(server, path, seconds):
    (found,) = fetcher().fetch([f"{server.url}/{path}"])
    assert isinstance(found, PhotoError)
    assert (found.retryable, found.retry_after) == (seconds is not None, seconds)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "again"), 30),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), None),
        (OSError("odd"), None),
    ],
)
def test_a_name_server_that_fails_passes_and_a_host_that_does_not_exist_stays(error, seconds):
    def resolve(host, port):
        raise error

    (found,) = fetcher(resolve=resolve).fetch(["http://host.example/x.jpg"])
    assert isinstance(found, PhotoUnavailable)
    assert found.retry_after == seconds


def test_a_refused_connection_and_a_slow_server_pass_and_a_missing_key_stays(server):
    slow = fetcher(limits=Limits(fetch_seconds=0.2)).fetch([server.url + "/drip"])
    gone = fetcher().fetch(["http://127.0.0.1:9/x.jpg", "missing.jpg"])
    assert [one.retry_after for one in (*slow, *gone) if isinstance(one, PhotoError)] == [30, 30, None]


def unknown_host(host, port):
    raise OSError(f"{host} is not known")


@pytest.mark.parametrize("reference", ["http://", "http://[", "https://a b/c", "http://exa\u00admple:99999/"])
def test_a_reference_that_is_no_url_is_refused(reference):
    refusal(fetcher().fetch([reference]))


def test_an_announced_giant_is_not_downloaded(server):
    assert "limit of 65536" in refusal(fetcher().fetch([server.url + "/announced"]), PhotoTooLarge)


def test_an_endless_photo_is_cut_off_at_the_limit(server):
    assert "limit of 65536" in refusal(fetcher().fetch([server.url + "/endless"]), PhotoTooLarge)
    assert server.sent < 20_000 * KILOBYTE  # what socket buffers hold, not what time allows


def test_a_server_that_drips_runs_into_the_time_limit(server):
    started = time.monotonic()
    limits = Limits(fetch_seconds=0.4)
    assert "longer than 0.4 seconds" in refusal(fetcher(limits=limits).fetch([server.url + "/drip"]))
    assert time.monotonic() - started < 2


def test_an_object_over_the_limit_is_refused():
    refusal(fetcher(lambda key: b"x" * 65 * KILOBYTE).fetch(["big.jpg"]), PhotoTooLarge)


def test_compressed_answers_are_refused(server):
    assert "compressed" in refusal(fetcher().fetch([server.url + "/zipped"]))


def test_redirects_are_followed_up_to_five(server):
    assert fetcher().fetch([f"{server.url}/to//to//photo/1"]) == [PICTURE]
    assert "more than 5 redirects" in refusal(fetcher().fetch([server.url + "/loop/0"]))
    assert sum(server.hits[f"/loop/{step}"] for step in range(20)) == 6


def test_redirects_to_other_schemes_are_refused(server):
    assert "is not an http(s) address" in refusal(fetcher().fetch([server.url + "/to/file:///etc/passwd"]))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
        ),
        *(
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "2130706433",
        ),
    ],
)
def test_private_addresses_are_refused_unless_allowed(host):
    assert "private address" in refusal(fetcher(allow_private=False).fetch([f"http://{host}/photo.jpg"]))


def test_public_addresses_are_public():
    assert all(map(addresses.is_public, ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]))


def test_a_name_with_one_private_address_is_refused():
    resolve = {"mixed.example": ["93.184.215.14", "10.0.0.1"]}
    photos = fetcher(allow_private=False, resolve=lambda host, port: resolve[host])
    assert "mixed.example is at a private address" in refusal(photos.fetch(["http://mixed.example/1.jpg"]))


def test_a_redirect_into_the_private_network_is_refused(server, monkeypatch):
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    photos = fetcher(allow_private=False)
    assert photos.fetch([server.url + "/photo/1"]) == [PICTURE]
    assert "private address" in refusal(photos.fetch([server.url + "/to/http://169.254.169.254/latest/meta-data"]))


def test_a_second_dns_answer_is_never_asked_for(server):
    answers = iter([["127.0.0.1"], ["192.0.2.1"]])
    photos = fetcher(resolve=lambda host, port: next(answers))
    host = f"photos.example:{server.server_port}"
    assert photos.fetch([f"http://{host}/photo/1"]) == [PICTURE]
    assert server.hosts == [host]
    assert next(answers) == ["192.0.2.1"]


def test_no_password_and_no_signature_is_told_or_logged_on_any_hop(server, caplog):
    host = server.url.replace("http://", "http://bob:hunter2@")
    signed = f"{host}/photo/1?X-Amz-Signature=hunter2"
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "httpx"):
        found = fetcher().fetch([f"{host}/missing?sig=hunter2", f"{host}/to/{signed}", f"{host}/announced?sig=hunter2"])
    assert found[1] == PICTURE
    assert "/missing?... answered 404" in found[0].message
    assert "hunter2" not in found[0].message + found[2].message + caplog.text
    assert "/photo/1?..." in caplog.text
    assert server.hits["/photo/1?X-Amz-Signature=hunter2"] == 1
