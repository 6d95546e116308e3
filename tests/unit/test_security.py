"""SECURITY.md is right: the tests that it names exist, and the limits that it gives are the code's."""

import re
from pathlib import Path

import pytest

from shared import errors
from shared.contract.validation import LONGEST_ECHO, LONGEST_WARNING, MOST_WARNINGS
from shared.settings import MEBIBYTE, Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))


def row(beginning: str) -> str:
    """Return the table row that begins with this text."""
    [found] = [line for line in PAGE.splitlines() if line.startswith(f"| {beginning}")]
    return found


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_shows_a_limit_exists(file, name):
    assert f"def {name}(" in (ROOT / file).read_text()


def test_there_are_tests_of_most_limits():
    assert len(NAMED) > 15


@pytest.mark.parametrize(
    ("beginning", "figure"),
    [
        ("manifest, `PHOTOG_LIMITS__MANIFEST_BYTES`", f"{Settings().limits.manifest_bytes // MEBIBYTE} MiB"),
        ("answer, `PHOTOG_LIMITS__ANSWER_BYTES`", f"{Settings().limits.answer_bytes // MEBIBYTE} MiB"),
        ("picture file, `PHOTOG_LIMITS__PHOTO_BYTES`", f"{Settings().limits.photo_bytes // MEBIBYTE} MiB"),
        ("pixels, `PHOTOG_LIMITS__PHOTO_PIXELS`", f"{Settings().limits.photo_pixels // 1_000_000} million"),
        ("seconds, `PHOTOG_LIMITS__REQUEST_SECONDS`", f"{Settings().limits.request_seconds:,.0f}"),
        ("a picture over the network, `PHOTOG_LIMITS__FETCH_SECONDS`", f"{Settings().limits.fetch_seconds:.0f} s"),
        ("attempts that die, `PHOTOG_LEASE__ATTEMPTS`", str(Settings().lease.attempts)),
        ("SIGTERM, `PHOTOG_LEASE__DRAIN_SECONDS`", f"{Settings().lease.drain_seconds:.0f} s"),
        ("running requests of the user", f"({Settings().lease.seconds:.0f} s)"),
        ("echo of the request", f"{LONGEST_ECHO // 1024} KiB"),
        ("warnings", f"{MOST_WARNINGS} of a kind, {LONGEST_WARNING} characters"),
    ],
)
def test_a_limit_is_the_one_that_the_code_has(beginning, figure):
    assert figure in row(beginning)


def test_the_errors_that_it_names_are_errors():
    named = {
        name
        for line in PAGE.splitlines()
        if line.startswith("| ")
        for name in re.findall(r"\b(?:Photo|Invalid|Answer|Manifest|Attempts|Deadline)[A-Z]\w+", line)
    }
    assert named
    assert named <= vars(errors).keys()
