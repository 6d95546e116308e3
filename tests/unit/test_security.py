"""SECURITY.md is right: the tests that it names exist, and the limits that it gives are the code's."""

import re
from pathlib import Path

import pytest

from functions.check import request as check
from functions.generate import request as generate
from functions.generate.diffusion import lora_file
from functions.train import request as train
from functions.train.request import TrainConfigure
from functions.train.training import MOST_CHECKPOINTS
from serve import connections, parameters
from serve.settings import ServeSettings
from shared import errors
from shared.buckets.staging import COLLECT_SECONDS
from shared.contract import manifest_text, manifests
from shared.contract.validation import LONGEST_ECHO, LONGEST_WARNING, MOST_WARNINGS
from shared.contract.workspace import AT_ONCE
from shared.events import envelopes
from shared.observability import logs, metrics
from shared.observability.failing_keys import FIRST_SECONDS, LONGEST_SECONDS
from shared.photos import boxes, container, fetching, jpeg, packing, png, refusals, sequence_header, webp
from shared.runtime.http import LARGEST_EVENT
from shared.runtime.isolation import GRACE_SECONDS
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))


NUMBERS = {5: "five"}


def row(beginning: str) -> str:
    """Return the table row that begins with this text."""
    [found] = [line for line in PAGE.splitlines() if line.startswith(f"| {beginning}")]
    return found


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_shows_a_limit_exists(file, name):
    assert f"def {name}(" in (ROOT / file).read_text()


def test_there_are_tests_of_most_limits():
    assert len(NAMED) > 15


LIMITS, LEASE, SERVE = Settings().limits, Settings().lease, ServeSettings()
STEPS = TrainConfigure.model_fields["max_train_steps"].metadata[-1].le
MEBIBYTES, KIBIBYTES = 2**20, 2**10

FIGURES = {
    "manifest, `PHOTOG_LIMITS__MANIFEST_BYTES`": [f"{LIMITS.manifest_bytes // MEBIBYTES} MiB"],
    "nesting": [f"{manifest_text.DEEPEST} brackets"],
    "values": [f"{manifest_text.MOST_VALUES:,}"],
    "numbers": [f"{manifest_text.MOST_DIGITS:,} digits"],
    "Python-literal body": [f"{manifest_text.LONGEST_LITERAL // KIBIBYTES} KiB"],
    "manifests that kill their reader": [f"{LEASE.attempts} attempts"],
    "echo of the request": [f"{LONGEST_ECHO // KIBIBYTES} KiB"],
    "warnings": [f"{MOST_WARNINGS} of a kind, {LONGEST_WARNING} characters"],
    "message, field of an error": [f"{manifests.LONGEST_MESSAGE:,} and {manifests.LONGEST_FIELD} characters"],
    "answer, `PHOTOG_LIMITS__ANSWER_BYTES`": [f"{LIMITS.answer_bytes // MEBIBYTES} MiB"],
    "seconds, `PHOTOG_LIMITS__REQUEST_SECONDS`": [f"{LIMITS.request_seconds:,.0f}", f"{GRACE_SECONDS:.0f} s more"],
    "attempts that die, `PHOTOG_LEASE__ATTEMPTS`": [f"{LEASE.attempts}"],
    "SIGTERM, `PHOTOG_LEASE__DRAIN_SECONDS`": [f"{LEASE.drain_seconds:.0f} s"],
    "a key that fails": [f"{FIRST_SECONDS} s", f"{LONGEST_SECONDS:.0f} s"],
    "pictures of a request": [
        f"{check.MOST_IMAGES} (check), {train.MOST_IMAGES} (train), 1 template, {generate.MOST_FACES} faces",
        f"{generate.MOST_REFERENCES_TOGETHER} references, {generate.MOST_REFERENCES} of each person",
    ],
    "picture file, `PHOTOG_LIMITS__PHOTO_BYTES`": [f"{LIMITS.photo_bytes // MEBIBYTES} MiB"],
    "pixels, `PHOTOG_LIMITS__PHOTO_PIXELS`": [
        f"{LIMITS.photo_pixels // 10**6} million",
        f"{container.SIDE:,} per side",
    ],
    "decoding a picture": [f"{container.BYTES_A_PIXEL * LIMITS.photo_pixels / 1e9:.1f} GB"],
    "JPEG": [f"{jpeg.SCANS} scans", f"{jpeg.SCANNED_PIXELS // 10**6:,} million pixels", f"{jpeg.SEGMENTS:,} segments"],
    "PNG, WebP": [f"{png.CHUNKS:,} and {webp.CHUNKS:,} chunks", f"{png.TEXT_BYTES // MEBIBYTES} MiB"],
    "AVIF": [f"{boxes.ITEMS:,} items", f"{sequence_header.FRAMES} frames"],
    "pictures that arrive packed": [f"{packing.MEMBERS} members, {packing.LAYERS} layers"],
    "what a server says when it refuses": [
        f"{refusals.READ // KIBIBYTES} KiB in {fetching.REFUSAL_SECONDS:.0f} s; {refusals.LONGEST} characters"
    ],
    "pictures in memory": [f"{NUMBERS[AT_ONCE]} files", f"{AT_ONCE * LIMITS.photo_bytes // MEBIBYTES} MiB"],
    "a picture over the network, `PHOTOG_LIMITS__FETCH_SECONDS`": [
        f"{LIMITS.fetch_seconds:.0f} s",
        f"{fetching.REDIRECTS} redirects, {fetching.AT_ONCE} connections",
    ],
    "prompt": [f"{generate.LONGEST_PROMPT:,} characters"],
    "training": [f"{STEPS:,} steps", f"{MOST_CHECKPOINTS} checkpoints"],
    "LoRA file": [
        f"{lora_file.MOST_BYTES // 2**30} GiB, {lora_file.MOST_HEADER // MEBIBYTES} MiB of header",
        f"{lora_file.MOST_TENSORS:,} tensors, rank {lora_file.MOST_RANK:,}",
    ],
    "event": [f"{LARGEST_EVENT // MEBIBYTES} MiB over HTTP, {envelopes.DEEPEST} nested envelopes"],
    "log line": [
        f"{logs.LONGEST_MESSAGE // KIBIBYTES} KiB, and {logs.LONGEST_TRACEBACK // KIBIBYTES} KiB of traceback"
    ],
    "series of metrics": [f"{metrics.MOST_NAMES} values"],
    "disk": [f"{COLLECT_SECONDS:.0f} s"],
    "body of a put": [f"{LIMITS.manifest_bytes // MEBIBYTES} MiB"],
    "unanswered puts of a service": [f"{SERVE.longest_queue:,}"],
    "connections, `CONNECTIONS`": [f"{SERVE.connections:,}"],
    "a request's head, `HEAD_SECONDS`": [f"{SERVE.head_seconds:.0f} s, {connections.HEAD_BYTES // KIBIBYTES} KiB"],
    "a body to arrive": [
        f"{SERVE.body_seconds:.0f} s, {connections.SLOWEST // KIBIBYTES} KiB a second on average over "
        f"{connections.PERIOD:.0f} s"
    ],
    "bodies in memory, and answers": [f"{SERVE.bytes_at_once // MEBIBYTES} MiB each", f"{SERVE.turn_seconds:.0f} s"],
    "WebSockets, `WATCHERS`": [f"{SERVE.watchers}"],
    "tags of a put": [f"{parameters.MOST_TAGS}, {parameters.LONGEST_TAGS // KIBIBYTES} KiB"],
    "running requests of the user": [f"({LEASE.seconds:.0f} s)"],
}
"""Figures by the beginning of their row."""
WITHOUT = ("reading any manifest", "addresses", "`data:` URL", "special files")
"""Rows whose figures were measured, or that have none."""


@pytest.mark.parametrize("beginning", FIGURES)
def test_a_limit_is_the_one_that_the_code_has(beginning):
    assert [figure for figure in FIGURES[beginning] if figure not in row(beginning)] == []


def test_each_limit_is_compared_with_the_code():
    tables = PAGE.partition("## What a request may cost")[2].partition("## What `photog forget`")[0]
    rows = [line.removeprefix("| ") for line in tables.splitlines() if re.match(r"\| (?!what)", line)]
    assert len(rows) > 35
    assert [one for one in rows if not one.startswith((*FIGURES, *WITHOUT))] == []
    assert [one for one in rows if "`tests/" not in one] == [], "each names the test that shows it"


def test_the_errors_that_it_names_are_errors():
    named = {
        name
        for line in PAGE.splitlines()
        if line.startswith("| ")
        for name in re.findall(r"\b(?:Photo|Invalid|Answer|Manifest|Attempts|Deadline)[A-Z]\w+", line)
    }
    assert named
    assert named <= vars(errors).keys()
