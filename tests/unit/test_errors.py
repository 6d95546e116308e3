"""The errors of a request: the table in the documentation is what the code says."""

import pickle
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from shared import errors
from shared.contract.error_types import error_types
from shared.errors import PhotoUnavailable, RequestError
from shared.photos.transience import LONGEST_RETRY, retry_after_status
from tests.deployment import ROOT

PAGE = (ROOT / "docs/errors.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (?:(\d+) s)? *\| (.+) \|$", re.MULTILINE)
# worth another try, as the same request may succeed; all others say what is wrong with the request itself
WORTH_A_RETRY = {
    "AttemptsExhausted",
    "DeadlineExceeded",
    "DeviceError",
    "InternalError",
    "OutOfMemory",
    "QuotaExceeded",
    "Undeliverable",
}
SOMETIMES = {"NoUsableReference", "PhotoUnavailable", "TooFewPhotos"}


def test_the_table_of_the_page_is_that_of_the_code():
    listed = [(name, retry, int(after) if after else None, text) for name, retry, after, text in ROW.findall(PAGE)]
    assert listed == [(one.type, one.retryable, one.retry_after, one.description) for one in error_types()]


def test_every_error_that_can_be_an_answer_is_in_the_table():
    source = [path for room in ("shared", "functions", "serve") for path in (ROOT / room).rglob("*.py")]
    bases, found = {"RequestError"}, set[str]()
    classes = [one for path in source for one in re.findall(r"^class (\w+)\((\w+)\)", path.read_text(), re.MULTILINE)]
    while new := {name for name, base in classes if base in bases} - found:
        found, bases = found | new, bases | new
    assert found == {one.type for one in error_types()}


def test_what_may_pass_by_itself_says_so_and_nothing_else_does():
    assert {one.type for one in error_types() if one.retryable == "yes"} == WORTH_A_RETRY
    assert {one.type for one in error_types() if one.retryable == "sometimes"} == SOMETIMES
    for one in error_types():
        assert (one.retry_after is None) == (one.retryable == "no"), one.type
        told = getattr(errors, one.type)("why").as_dict()
        assert told["retryable"] is (one.retryable == "yes"), "an error that depends is not retryable unless it says so"
        assert told.get("retry_after") == (one.retry_after if one.retryable == "yes" else None)


def test_an_error_takes_its_retry_along_to_another_process():
    kept: RequestError = pickle.loads(pickle.dumps(PhotoUnavailable("busy", "template_image").retry_in(9)))
    expected = {"type": "PhotoUnavailable", "field": "template_image", "retryable": True, "retry_after": 9}
    assert kept.as_dict() == expected
    assert kept.retry_in(None).as_dict() == {
        "type": "PhotoUnavailable",
        "field": "template_image",
        "retryable": False,
    }


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 1), ("999999999999", LONGEST_RETRY), ("", 30), ("soon", 30), ("-5", 30), ("٣", 30)],
)
def test_a_servers_own_pause_is_kept_within_bounds(header, seconds):
    headers = httpx.Headers([(b"Retry-After", header.encode())])
    assert retry_after_status(503, headers) == seconds
    assert retry_after_status(404, headers) is None


def test_a_server_may_name_the_moment():
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert retry_after_status(429, httpx.Headers({"Retry-After": moment})) in range(95, 101)
