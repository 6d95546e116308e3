"""Unusual responses of servers: compressed pictures, odd headers, text instead of pictures, and error messages."""

import gzip
import threading
import zlib
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from shared.buckets import MemoryBucket
from shared.errors import PhotoError, PhotoTooLarge, PhotoUnavailable
from shared.lifecycle.bucket_photos import make_fetcher as fetcher_of
from shared.photos import PhotoFetcher, fetching
from shared.photos.packing import LAYERS, MEMBERS, open_packed
from shared.settings import Limits, Settings
from tests import pictures

LIMITS = Limits(photo_bytes=256 * 1024, fetch_seconds=5.0)
PICTURE = pictures.jpeg(pictures.hopper())
BOMB = gzip.compress(bytes(20_000_000))
RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(PICTURE) + RAW.flush()
SECRET = "hunter2secret"


class ReplyHandler(BaseHTTPRequestHandler):
    """Sends the response that the test has set, for every request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(dict(self.headers))
        self.server.callers.add(self.client_address)
        status, headers, body = self.server.reply
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), ReplyHandler)
    server.asked, server.callers, server.url = [], set(), f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def nothing(key):
    return None


def got(server, status=200, headers=None, body=PICTURE, path="/a.jpg", **more) -> bytes | PhotoError:
    """Fetch a picture from the server, which sends the given response."""
    server.reply = status, headers or {}, body
    (found,) = PhotoFetcher(LIMITS, True, nothing, **more).fetch([server.url + path])
    return found


@pytest.mark.parametrize(
    "encoding",
    [
        *("", " ", "identity", "Identity", "binary", "aws-chunked", "AWS-Chunked", "aws-chunked,", "UTF-8", "none"),
        *("8bit", "identity, aws-chunked", "image/jpeg", "gzip", "br", "deflate", "aws-chunked, zstd"),
    ],
)
def test_a_picture_comes_through_whatever_is_said_of_its_encoding(server, encoding):
    assert got(server, headers={"Content-Encoding": encoding}) == PICTURE


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(PICTURE)),
        ("GZip", gzip.compress(PICTURE)),
        ("x-gzip", gzip.compress(PICTURE)),
        ("aws-chunked,gzip", gzip.compress(PICTURE)),
        ("gzip, identity", gzip.compress(PICTURE)),
        ("gzip, gzip", gzip.compress(gzip.compress(PICTURE))),
        ("gzip, deflate", zlib.compress(gzip.compress(PICTURE))),
        ("deflate", zlib.compress(PICTURE)),
        ("deflate", DEFLATED),
        ("x-deflate", zlib.compress(PICTURE)),
        ("deflate;q=1", zlib.compress(PICTURE)),
        ('"GZIP"; q=0.5', gzip.compress(PICTURE)),
        ("gzip", gzip.compress(PICTURE[:999]) + gzip.compress(PICTURE[999:])),
        ("gzip", gzip.compress(PICTURE) + b"\0\0\0"),
        ("", gzip.compress(PICTURE)),
    ],
)
def test_a_packed_picture_is_unpacked(server, encoding, body):
    assert got(server, headers={"Content-Encoding": encoding}, body=body) == PICTURE


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", BOMB),
        ("deflate", zlib.compress(bytes(20_000_000))),
        ("gzip, gzip", gzip.compress(BOMB)),
        ("gzip", gzip.compress(bytes(200_000)) * 3),
    ],
)
def test_a_bomb_is_not_unpacked_beyond_the_limit(server, encoding, body):
    found = got(server, headers={"Content-Encoding": encoding}, body=body)
    assert type(found) is PhotoTooLarge
    assert "more than the limit of 262144 bytes" in found.message


@pytest.mark.parametrize(
    ("encoding", "body", "says"),
    [
        ("gzip", gzip.compress(PICTURE)[:-2000], "cut off"),
        ("gzip", b"\x1f\x8b\x08" + bytes(30), "broken"),
        ("deflate", b"no deflate", "broken"),
        ("gzip", b"nothing of the kind", "neither compressed by gzip nor a picture"),
        ("br", b"\x8b\x03\x80", "compressed by br"),
        ("zstd", b"\x28\xb5\x2f\xfd", "compressed by zstd"),
        ("gzip", gzip.compress(b"") * (MEMBERS + 1), f"more than {MEMBERS} pieces"),
    ],
)
def test_what_is_packed_and_cannot_be_unpacked_says_so(server, encoding, body, says):
    found = got(server, headers={"Content-Encoding": encoding}, body=body)
    assert type(found) is PhotoUnavailable
    assert says in found.message


def test_an_object_that_was_stored_packed_is_unpacked_within_the_limit():
    stored = {"a.jpg": gzip.compress(PICTURE), "bomb.jpg": BOMB}
    picture, bomb = PhotoFetcher(LIMITS, False, stored.get).fetch(["a.jpg", "bomb.jpg"])
    assert picture == PICTURE
    assert type(bomb) is PhotoTooLarge


def test_layers_of_packing_end_somewhere():
    packed = PICTURE
    for _ in range(LAYERS + 1):
        packed = gzip.compress(packed)
    assert open_packed(packed, 10**6).startswith(b"\x1f\x8b")


def test_we_say_who_asks_and_the_setting_says_it_otherwise(server):
    got(server)
    assert server.asked[0]["User-Agent"].startswith("photog/")
    name = "portraits of example.com (mailto:photos@example.com)"
    settings = Settings(user_agent=name, private_addresses=True)
    fetcher_of(MemoryBucket(), {}, settings).fetch([server.url + "/a.jpg"])
    assert server.asked[1]["User-Agent"] == name


@pytest.mark.parametrize("name", ["", "two\r\nlines: x", "ünsere", " "])
def test_a_name_that_no_header_can_bear_is_refused_at_the_start(name):
    with pytest.raises(ValidationError):
        Settings(user_agent=name)


S3 = (
    '<?xml version="1.0"?>\n<Error><Code>{}</Code><Message>{}</Message><AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE'
    "</AWSAccessKeyId><RequestId>4442587FB7D0A2F9</RequestId></Error>"
)
AZURE = (
    '\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to '
    "authenticate the request. Make sure the value of Authorization header is formed correctly.\nRequestId:1-2\n"
    "Time:2025-01-01T00:00:00Z</Message><AuthenticationErrorDetail>Signature not valid in the specified time frame: "
    "Start [Wed, 01 Jan 2025] - Expiry [Thu, 02 Jan 2025] - Current [Fri, 03 Jan 2025]</AuthenticationErrorDetail>"
    "</Error>"
)
GOOGLE = (
    "<?xml version='1.0' encoding='UTF-8'?><Error><Code>ExpiredToken</Code><Message>Invalid argument.</Message>"
    "<Details>The provided token has expired. Request signature expired at: 2025-01-01T00:00:00+00:00</Details></Error>"
)
REFUSALS = [
    (403, S3.format("AccessDenied", "Request has expired"), ["AccessDenied: Request has expired", "sign it again"]),
    (403, S3.format("RequestTimeTooSkewed", "The difference is too large."), ["RequestTimeTooSkewed", "clock"]),
    (400, S3.format("ExpiredToken", "The provided token has expired."), ["ExpiredToken", "has expired"]),
    (403, S3.format("AccessDenied", "Access &lt;Denied&gt;"), ["AccessDenied: Access <Denied>"]),
    (403, AZURE, ["AuthenticationFailed", "expired"]),
    (400, GOOGLE, ["ExpiredToken: Invalid argument", "signature expired at"]),
    (
        403,
        S3.format("SignatureDoesNotMatch", "The request signature"),
        ["SignatureDoesNotMatch: The request signature"],
    ),
    (403, S3.format("InvalidAccessKeyId", "The AWS Access Key Id you"), ["InvalidAccessKeyId: The AWS Access Key Id"]),
    (401, '{"error": "invalid_token", "error_description": "Unknown"}', ["invalid_token: Unknown"]),
    (401, "ExpiredToken: Sessions end after one hour", ["ExpiredToken: Sessions end", "sign it again"]),
    (403, '{"error": {"code": 403, "message": "The link is expi\\u0072ed"}}', ["The link is expired", "sign it again"]),
    (401, '{"error": "token_expired", "error_description": "Token \\"x\\" expired"}', ["token_expired", "expired"]),
    (403, "URL signature expired\n", ["URL signature expired"]),
    (403, "Request time is skewed. Ask again.", ["skewed"]),
    (410, "x" * 60 + ".\n" + "This link expired yesterday.", ["This link expired yesterday."]),
    (
        403,
        "<!DOCTYPE html><title>Forbidden</title><style>expires{}</style><h1>Sorry</h1><p>Your link has <b>expired</b>",
        ["Forbidden", "expired"],
    ),
    (
        403,
        S3.format("AccessDenied", "<![CDATA[Request has expired]]>"),
        ["AccessDenied: Request has expired", "sign it"],
    ),
    (403, "\ufeff" + S3.format("AccessDenied", "Request has expired"), ["AccessDenied: Request has expired"]),
    (403, "<p>Sorry.</p><p>The link has expired.</p>", ["The link has expired", "sign it again"]),
    (403, "Please set a user-agent and respect our robot policy", ["user-agent", "PHOTOG_USER_AGENT"]),
]


@pytest.mark.parametrize(("status", "body", "says"), REFUSALS)
def test_a_server_that_refuses_is_quoted_and_the_user_told_what_to_do(server, status, body, says):
    found = got(server, status, {}, body.encode(), "/a.jpg?AWSAccessKeyId=A1&Expires=1&Signature=x")
    assert type(found) is PhotoUnavailable
    assert f"/a.jpg?... answered {status} " in found.message
    assert "[redacted]" not in found.message
    assert [one for one in says if one not in found.message] == []
    assert "AKIA" not in found.message
    assert len(found.message) < 600
    assert found.message.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        "The signature {} has expired",
        "<Error><Code>AccessDenied</Code><Message>{} is no valid token</Message></Error>",
        '{{"message": "GET {} expired"}}',
        "<html><title>{}</title><p>{} expired</p></html>",
        "token={} expired",
        "no such link: /a.jpg?sig={}&x=1",
        "user bob, password {}: expired",
        "ExpiredToken: {}",
        "ExpiredToken: {} is invalid. InvalidSignature: Signature {} expired",
        "<Error><Code>ExpiredToken</Code><Message>{}</Message></Error>",
        '{{"error": "invalid_token", "message": "Invalid token: {} expired"}}',
    ],
)
def test_a_server_that_repeats_the_secrets_of_a_url_is_not_repeated(server, body):
    for said in (SECRET, SECRET.replace("2", "%32"), b64encode(SECRET.encode() * 4).decode()):
        server.url = f"http://bob:{SECRET}@127.0.0.1:{server.server_port}"
        path = f"/a.jpg?sig={SECRET.replace('2', '%32')}&st=1~hmac={b64encode(SECRET.encode() * 4).decode()}"
        found = got(server, 403, {}, body.format(said, said).encode(), path)
        assert SECRET not in found.message
        assert "%32" not in found.message
        assert b64encode(SECRET.encode()).decode()[:12] not in found.message


@pytest.mark.parametrize("body", [b"", b"\0\xff" * 40, b" \n", b"<Error/>", b"{}", b"\x1f\x8b broken", b"<" * 20_000])
def test_a_refusal_without_words_has_the_status_alone(server, body):
    found = got(server, 403, {"Content-Encoding": "gzip"} if body[:1] == b"\x1f" else {}, body)
    assert "answered 403 Forbidden" in found.message
    assert len(found.message) < 500


def test_a_refusal_that_comes_packed_is_read_too(server):
    found = got(server, 403, {"Content-Encoding": "gzip"}, gzip.compress(b"Request has expired"))
    assert "Request has expired" in found.message


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_a_refusal_in_another_encoding_is_read_too(server, encoding):
    body = S3.format("AccessDenied", "Der Link f\xfcr die Datei: Request has expired").encode(encoding)
    found = got(server, 403, {}, body)
    assert "Der Link f\xfcr die Datei: Request has expired" in found.message
    assert "sign it again" in found.message


def test_a_refusal_whose_last_character_is_cut_off_is_read_as_what_it_is(server):
    assert (
        "gel\xf6scht" in got(server, 404, {}, "gel\xf6scht ".encode() + b"x" * 16_000 + "\xfc".encode() * 200).message
    )


def test_a_refusal_that_does_not_end_costs_a_moment_and_keeps_its_status(server, monkeypatch):
    monkeypatch.setattr(fetching, "REFUSAL_SECONDS", 0.1)
    found = got(server, 403, {"Content-Length": "1000"}, b"Request has expired")
    assert "answered 403 Forbidden" in found.message
    assert "expired" in found.message


PAGES = [
    "<!doctype html><title>Sign in</title>",
    "\ufeff\n  <HTML><body>x</body></HTML>",
    "<!-- cached --><html></html>",
    "<head><title>Drive</title></head>",
    "<center><h1>502 Bad Gateway</h1></center>",
    "<p>No entry",
    "<div class='x'>No access</div>",
    '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0"><html><svg/></html>',
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["text/html", "image/jpeg"])
def test_a_page_with_status_200_is_called_one(server, page, kind):
    found = got(server, 200, {"Content-Type": kind}, page.encode())
    assert type(found) is PhotoUnavailable
    assert "/a.jpg sent a web page instead of a picture" in found.message
    assert ("Sign in" in found.message) == ("Sign in" in page)


def test_a_picture_is_one_whatever_its_content_type(server):
    for kind in ("text/html", "application/octet-stream", "text/plain; charset=utf-8", ""):
        assert got(server, headers={"Content-Type": kind}) == PICTURE


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"message": "Request has expired"}', "Request has expired"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "NoSuchKey"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (b"rate limit", "rate limit"),
    ],
)
def test_words_with_status_200_are_no_picture(server, body, says):
    found = got(server, 200, {"Content-Type": "image/jpeg"}, body)
    assert type(found) is PhotoUnavailable
    assert "sent no picture" in found.message
    assert says in found.message


@pytest.mark.parametrize(
    ("status", "headers"),
    [(203, {}), (206, {"Content-Range": f"bytes 0-{len(PICTURE) - 1}/{len(PICTURE)}"})],
)
def test_a_whole_picture_is_one_although_a_cache_answers_with_another_status(server, status, headers):
    assert got(server, status, headers) == PICTURE


@pytest.mark.parametrize(
    "given", ["", "bytes 0-99/100000", "bytes 5-9/10", "bytes 0-9/*", "bytes 0-" + "9" * 50 + "/1"]
)
def test_a_part_of_a_picture_is_none(server, given):
    assert "answered 206" in got(server, 206, {"Content-Range": given} if given else {}).message


def test_each_picture_comes_over_a_connection_of_its_own(server):
    """Else a second host at the address would be spoken to over what was opened, and checked, for the first."""
    hosts = [f"http://{name}.example:{server.server_port}/{number}.jpg" for number, name in enumerate("abab")]
    server.reply = 200, {}, PICTURE
    fetched = PhotoFetcher(LIMITS, True, nothing, resolve=lambda host, port: ["127.0.0.1"]).fetch(hosts)
    assert fetched == [PICTURE] * 4
    assert len(server.callers) == 4
