"""Logs: one line per event, with its request, and without what must not be logged."""

import base64
import io
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.contract.redaction import redact
from shared.observability.logs import JsonFormatter, LogSettings, configure, request_context
from shared.settings import Settings

log = logging.getLogger("tests.logs")
ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines():
    """Configure logging to a stream; returns the lines that were written."""
    root = logging.getLogger()
    handlers, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    written: list[io.StringIO] = []

    def start(stream: io.StringIO | None = None, **settings: str):
        written.append(stream or io.StringIO())
        root.handlers.clear()  # pytest's own would report what cannot be encoded, which ends a process of pytest-xdist
        configure(LogSettings(**settings), written[-1])
        return lambda: written[-1].getvalue().splitlines()

    yield start
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks


def test_a_line_of_json_says_when_how_bad_who_and_what(lines):
    read = lines(format="json")
    log.warning("no heartbeat for %s", "r1")
    line = json.loads(read()[0])
    assert line.pop("time").endswith("Z")
    assert line == {"level": "WARNING", "logger": "tests.logs", "message": "no heartbeat for r1"}


def test_every_line_within_a_request_carries_its_ids_and_its_seconds(lines):
    read = lines(format="json")
    with request_context("generate", "r1", 2):
        time.sleep(0.01)
        log.info("ends", extra={"code": "OK", "error": None, "user_vector": [1, 2]})
    log.info("after")
    within, after = (json.loads(line) for line in read())
    assert (within["function"], within["request_id"], within["attempt"], within["code"]) == ("generate", "r1", 2, "OK")
    assert 0.01 <= within["seconds"] < 5
    assert not within.keys() & {"user_vector", "error"}
    assert "request_id" not in after


def test_the_metadata_of_a_request_is_in_its_lines_without_secrets(lines):
    metadata = {"order": "A-1007", "gift": True, "page": "https://u:hunter2@x.y/?sig=hunter2", "odd": "\ud800\n"}
    read = lines(format="json")
    with request_context("generate", "r1", 1, metadata):
        log.info("begins")
    (line,) = map(json.loads, read())
    assert line["metadata"] == {
        "order": "A-1007",
        "gift": True,
        "page": "https://[redacted]@x.y/?[redacted]",
        "odd": "\\ud800\\n",
    }
    read = lines(format="text")
    with request_context("generate", "r1", 1, {"order": "A-1007"}):
        log.info("begins")
    assert 's {"order": "A-1007"}] begins' in read()[-1]


def test_a_thread_that_a_request_starts_speaks_of_it_and_one_that_was_there_does_not(lines):
    read = lines(format="json")
    go, done = threading.Event(), threading.Event()

    def deliver() -> None:
        go.wait(5)
        log.info("an event of another request is delivered")
        done.set()

    threading.Thread(target=deliver).start()
    with request_context("train", "r2", 1):
        go.set()
        done.wait(5)
        heart = threading.Thread(target=lambda: log.info("a beat"))
        heart.start()
        heart.join()
    said = {line["message"]: line.get("request_id") for line in map(json.loads, read())}
    assert said == {"an event of another request is delivered": None, "a beat": "r2"}


def test_requests_at_once_in_one_process_are_not_mixed_up(lines):
    read = lines(format="json")
    both = threading.Barrier(2)

    def serve(identity: str) -> None:
        with request_context("check", identity, 1):
            both.wait(5)
            log.info(identity)
            both.wait(5)

    threads = [threading.Thread(target=serve, args=(identity,)) for identity in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(line["message"] == line["request_id"] for line in map(json.loads, read()))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "forged",
    ["\n", "\r\n", "\x1b[2K\r", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x00", "\u202e", "\ud800"],
)
def test_the_text_of_a_request_never_begins_a_line_nor_moves_the_cursor(lines, form, forged):
    read = lines(format=form)
    with request_context("check", f"r{forged}1", 1):
        log.error(
            "%s cannot be read", f"a{forged}2026-01-01T00:00:00.000Z INFO shared.lifecycle.invocation all is well"
        )
    raw = "\n".join(read())
    assert len(read()) == 1
    assert forged not in raw
    raw.encode()  # what cannot be encoded would be no line at all


def test_a_traceback_is_a_field_in_json_and_stays_on_its_line_in_text(lines):
    for form in ("json", "text"):
        read = lines(format=form)
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            log.exception("r1 failed")
        assert len(read()) == 1
        assert "second" in read()[0]
    read = lines(format="json")
    log.error("failed", exc_info=ValueError("first\nsecond"))
    line = json.loads(read()[0])
    assert line["error"] == "ValueError"
    assert line["traceback"].splitlines()[-1] == "second"


def test_on_a_terminal_a_traceback_is_readable_and_still_no_event(lines):
    read = lines(Terminal())
    log.error("failed", exc_info=ValueError("x\n2026-01-01T00:00:00.000Z INFO forged"))
    assert len(read()) > 1
    assert all(line.startswith("    ") for line in read()[1:])


PICTURE = base64.b64encode(random.Random(1).randbytes(3000)).decode()
VECTOR = [random.Random(2).uniform(-0.3, 0.3) for _ in range(128)]
SECRETS = {
    "user and password of a URL": ("https://bob:hunter2@host/a.jpg", "hunter2"),
    "a password with an at sign": ("https://bob:hunt@er2@host/a.jpg", "er2@"),
    "a password with a slash": ("https://bob:1/hunter2@host/a.jpg", "hunter2"),
    "a password with a hash": ("https://bob:hunter2#x@host/a.jpg", "hunter2"),
    "a URL within a URL": ("https://proxy/https://bob:hunter2@host/a.jpg", "hunter2"),
    "a presigned URL": ("GET https://s3/b/k?X-Amz-Signature=0a1b2c&X-Amz-Expires=60 403", "0a1b2c"),
    "a fragment": ("https://host/a#access_token=0a1b2c", "0a1b2c"),
    "a URL in quotes": ("fetching 'https://host/a?sig=0a1b2c' failed", "0a1b2c"),
    "a bucket with a query": ("s3://bucket/k?versionId=0a1b2c", "0a1b2c"),
    "a data URL": (f"data:image/jpeg;base64,{PICTURE}", PICTURE[:20]),
    "a short data URL": ("data:,hunter2", "hunter2"),
    "a picture": (f"image={PICTURE}", PICTURE[100:120]),
    "a header": ("Authorization: Token hunter2", "hunter2"),
    "headers as Python shows them": ("{'authorization': 'hunter2', 'host': 'x'}", "hunter2"),
    "headers as pairs of bytes": ("[(b'Authorization', b'hunter2'), (b'host', b'x')]", "hunter2"),
    "a bearer": ("got Bearer abc123.def-456", "abc123"),
    "a webhook's secret": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G"),
    "an access key": ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "a secret key": ("wJalrXUtnFEMI/K7MDENG0bPxRfiCYEXAMPLEKEY", "bPxRfiCY"),
    "a token by name": ("PHOTOG_TOKEN=hunter2", "hunter2"),
    "a token in JSON": ('{"token": "hunter2"}', "hunter2"),
    "a URL without a scheme": ("//bob:hunter2@host/a.jpg", "hunter2"),
    "a URL without slashes": ("https:bob:hunter2@host/a.jpg", "hunter2"),
    "a URL with a user that has a slash": ("https://hunter2/1@host/a.jpg", "hunter2"),
    "an encoded URL": ("https%3A%2F%2Fbob%3Ahunter2%40host", "hunter2"),
    "an encoded signature": ("https://host/a.jpg%3Fsig%3Dhunter2", "hunter2"),
    "a key with a query": ("photos/a.jpg?x=1,hunter2", "hunter2"),
    "a signature by name": ("sig=hunter2", "hunter2"),
    "a parameter of a path": ("https://host/a.jpg;sig=hunter2", "hunter2"),
    "a signature behind a tilde": ("st=1~hmac=hunter2", "hunter2"),
    "a signature in a path": ("https://host/s--hunter2--/a.jpg", "hunter2"),
    "a connection string": ("AccountName=a;AccountKey=hunter2", "hunter2"),
    "a passphrase with spaces": ("passphrase='correct hunter2 staple'", "hunter2"),
    "a pw": ("{'pw': 'hunter2'}", "hunter2"),
    "a pass": ("{'pass': 'hunter2'}", "hunter2"),
    "a short bearer": ("Bearer hunter2", "hunter2"),
    "a token behind its error": ("ExpiredToken: hunter2", "hunter2"),
    "a word behind an error": ("InvalidToken: hunter", "hunter"),
    "a password behind its error": ("WrongPassword: Hunter is no longer right", "Hunter"),
    "a quoted passphrase": ('{"passphrase": "the hunter is here"}', "hunter"),
    "a token in a quoted error": ('"InvalidToken": "The token: hunter2 is unknown"', "hunter2"),
    "a word assigned": ("token=hunter is invalid", "hunter"),
    "a word of a bearer": ("Authorization by Bearer hunter failed", "hunter"),
    "a header that begins with a word": ("X-Amz-Security-Token: invalid+hunter2", "hunter2"),
    "a face's vector": (f"embedding {VECTOR}", str(VECTOR[60])),
    "a vector as numpy shows it": (
        "[[ 0.1234 -0.2345\n  0.3456 0.4567 0.5678 0.6789 0.7891 -0.8912 0.9123]]",
        "0.4567",
    ),
}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("what", SECRETS)
def test_no_line_tells(lines, form, what):
    text, secret = SECRETS[what]
    read = lines(format=form)
    log.info(text.replace("%", "%%"))
    log.info("an argument: %s", text)
    log.info("of a dictionary: %r", {"url": text})
    log.info("as a detail", extra={"reason": text})
    log.error("as an error", exc_info=RuntimeError(text))
    log.error("as a cause", exc_info=_caused(RuntimeError(text)))
    assert len(read()) == 6
    assert secret not in "\n".join(read())


def _caused(cause: Exception) -> Exception:
    error = ValueError("outer")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "text",
    [
        "results/generate/01ARZ3NDEKTSV4RRFFQ69G5FAV/a1/portrait-000001-of-000002.png is written",
        "requests/check/Portraits-of-the-Garden-Party-2026-05-01/f81d4fae-7dec-11d0-a765-00a0c91e6bf6.json",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "https://host/photos/@bob/a.jpg and http://host:8443/a.jpg answered 404",
        "https://[2001:db8::1]/a.jpg is slow, 3.5 s of 30.0 s; losses 0.1, 0.2, 0.3",
        '  File "/usr/lib/python3.11/site-packages/torch/nn/modules/Convolution2D.py", line 5, in forward',
        "the token is missing: set it",
        "it says \"ExpiredToken: Invalid\", or 'ExpiredToken: Invalid token', or (InvalidSignature: Wrong date)",
        '{"InvalidToken": "The token is not known", "token": null, "InvalidKeyId": "Keys are made elsewhere"}',
        "expired_token: Sessions end after an hour; token: Unknown. Signature: missing! Bearer token required",
        "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.",
        "ann@example.com passes: 3 of 4, passed=3, design: new, machine=a1, spin=2, key=photos/ann@example.com/a.jpg",
    ],
)
def test_what_operators_need_stays(text):
    assert redact(text) == text


def test_a_log_line_is_bounded_whatever_is_logged_and_does_not_take_long(lines):
    read = lines(format="json")
    begun = time.process_time()
    for text in (
        "@" * 1_000_000,
        "pass='" * 200_000,
        "a" * 1_000_000,
        ":/" * 500_000,
        "\n" * 1_000_000,
        "0.1 " * 250_000,
    ):
        log.error("%s", text, exc_info=ValueError(text))
    assert time.process_time() - begun < 5
    assert len(read()) == 6
    assert max(map(len, read())) < 400_000


def test_an_error_that_nobody_caught_is_one_line_without_its_secrets():
    script = (
        "import shared.observability.logs as logs, threading\n"
        "logs.configure(logs.LogSettings(format='json'))\n"
        "def fail(): raise RuntimeError('https://a:hunter2@b/')\n"
        "thread = threading.Thread(target=fail, name='t'); thread.start(); thread.join()\n"
        "fail()"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["level"], line["error"]) for line in lines] == [
        ("ERROR", "RuntimeError"),
        ("CRITICAL", "RuntimeError"),
    ]
    assert ended.returncode == 1
    assert "hunter2" not in ended.stderr


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("hunter2")


@pytest.mark.parametrize(("message", "arguments"), [("shown %s", (Odd(),)), ("shown %s, two %s", (1,))])
def test_a_line_that_cannot_be_made_as_it_was_meant_is_made_all_the_same(message, arguments):
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, message, arguments, None)
    line = json.loads(JsonFormatter().format(record))
    assert line["message"].startswith("shown %s")
    assert "hunter2" not in line["message"]


def test_a_terminal_that_knows_no_umlauts_gets_its_lines(lines):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    lines(stream)
    log.info("Grüße")
    assert rb"Gr\xfc\xdfe" in stream.buffer.getvalue()


def test_a_reader_that_has_gone_away_stops_nobody(lines, capsys):
    stream = io.StringIO()
    lines(stream)
    stream.close()
    log.error("nobody reads this")
    assert capsys.readouterr().err == ""


def test_form_and_level_are_settings(monkeypatch, lines):
    monkeypatch.setenv("PHOTOG_LOG__FORMAT", "json")
    monkeypatch.setenv("PHOTOG_LOG__LEVEL", "warning")
    settings = Settings().log
    read = lines(**settings.model_dump())
    log.info("not worth a line")
    log.warning("worth one")
    assert [json.loads(line)["message"] for line in read()] == ["worth one"]


def test_wrong_settings_end_a_verb_with_the_variable_that_is_wrong():
    environment = os.environ | {"PHOTOG_LOG__FORMAT": "xml", "PHOTOG_NOTIFY__WEBHOOK_SECRET": "whsec_hunter2"}
    command = [sys.executable, "-m", "shared.cli", "worker", "check", "/nowhere"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("photog: PHOTOG_LOG__FORMAT: ")
    assert "hunter2" not in ended.stderr
