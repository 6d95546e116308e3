"""Hostile manifests: each ends in one typed answer, within time and memory; so does whatever hypothesis finds."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Event
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from functions.check.request import CheckRequest
from functions.generate.request import GenerateRequest
from functions.train.request import TrainRequest
from shared.buckets.memory import MemoryBucket
from shared.contract.function import Answer
from shared.contract.manifests import LONGEST_FIELD, LONGEST_MESSAGE, Json, encode, failure, parse
from shared.contract.validation import LONGEST_ECHO, Body, echo, validate
from shared.errors import InvalidField, InvalidManifest, RequestError
from shared.lifecycle.invocation import Invocation
from shared.lifecycle.shutdown import Shutdown
from shared.settings import Scan, Settings
from shared.triggers.scan import ScanTrigger
from tests.echo import Echo

ROOT = Path(__file__).parents[2]
MEBIBYTE = 1024 * 1024
QUICK_SIZE = 100_000
WHOLE_SIZE = 20_400_000  # just below limits.manifest_bytes
LONGEST_ANSWER = 256 * 1024  # an answer without a picture; echo and warnings are bounded
MODELS: tuple[type[Body], ...] = (CheckRequest, TrainRequest, GenerateRequest)


def answered(size: int, which: str, folder: Path) -> list[Json]:
    command = [sys.executable, "-m", "tests.hostile.answering", str(size), which, str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"HOME": str(folder)}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def faults(row: Json) -> list[str]:
    """What is wrong with how a manifest was answered."""
    wrong = []
    if len(row["answers"]) != 1:
        wrong.append(f"{len(row['answers'])} answers")
    for answer in row["answers"]:
        outcome = "OK" if answer["code"] == "OK" else answer["type"]
        if outcome != (row["expected"] or outcome):
            wrong.append(f"{outcome} instead of {row['expected']}")
        if outcome in (None, "InternalError", "AttemptsExhausted", "DeadlineExceeded") or answer["retryable"]:
            wrong.append(f"{outcome} sounds as if it were not the sender's fault")
        if answer["secret"]:
            wrong.append("a password")
        if answer["bytes"] > LONGEST_ANSWER:
            wrong.append(f"an answer of {answer['bytes']} bytes")
    left = [key for key in row["left"] if not (row["function"] == "train" and key.startswith("users/"))]
    if left:
        wrong.append(f"left behind: {left}")
    return wrong


def test_each_of_five_hundred_manifests_ends_in_one_answer_that_its_sender_understands(tmp_path):
    rows = answered(QUICK_SIZE, "all", tmp_path / "buckets")
    assert len(rows) > 490
    assert {(row["function"], row["name"]): wrong for row in rows if (wrong := faults(row))} == {}
    assert sum(row["seconds"] for row in rows) < 20
    assert max(row["seconds"] for row in rows) < 2
    assert max(row["peak"] for row in rows) < 250 * MEBIBYTE
    assert not list(ROOT.glob("pwned"))
    assert os.listdir(tmp_path) == ["buckets"]


@pytest.mark.slow
def test_twenty_megabytes_of_anything_cost_two_seconds_and_four_hundred_megabytes_at_most(tmp_path):
    rows = answered(WHOLE_SIZE, "sized", tmp_path / "buckets")
    assert len(rows) > 40
    assert {(row["function"], row["name"]): wrong for row in rows if (wrong := faults(row))} == {}
    assert {row["name"]: row["seconds"] for row in rows if row["seconds"] > 2} == {}
    assert {row["name"]: row["peak"] // MEBIBYTE for row in rows if row["peak"] > 400 * MEBIBYTE} == {}


odd_text = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Co", "Cn", "Lo"]), max_size=5),
    st.sampled_from(
        ["", ".", "..", "../x", "none", "http://[", "data:,", "s3://", "a" * 300, "\0", "\u202e", "1e999", "NaN"]
    ),
)
odd_number = st.one_of(st.integers(), st.floats(), st.sampled_from([2**63, -(2**63), 10**400, 1e308, -0.0]))
odd_value = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_number, odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(odd_text, inner, max_size=4)),
    max_leaves=12,
)
KNOBS = sorted(
    {
        knob
        for request in (CheckRequest, TrainRequest, GenerateRequest)
        for knob in cast(type[BaseModel], request.model_fields["configure"].annotation).model_fields
    }
)
name = st.one_of(st.sampled_from([*KNOBS, "model_id"]), odd_text)
configure = st.one_of(odd_value, st.dictionaries(name, st.one_of(odd_value, st.just("u")), max_size=8))
body = st.fixed_dictionaries(
    {},
    optional={
        "request_id": st.one_of(st.just("r1"), odd_value),
        "images": st.one_of(st.lists(odd_text, max_size=6), odd_value),
        "template_image": st.one_of(odd_text, odd_value),
        "configure": configure,
        "x": odd_value,
    },
)
surprising = st.builds(lambda known, more: {**more, **known}, body, st.dictionaries(odd_text, odd_value, max_size=3))


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """The text of a manifest, JSON or Python, with a few bytes cut, doubled or changed."""
    value = draw(surprising)
    text = draw(st.sampled_from([json.dumps(value).encode(), repr(value).encode(errors="surrogatepass")]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        more = draw(
            st.one_of(
                st.binary(max_size=3), st.sampled_from([b"[", b"{", b'"', b"'", b"\\", b",", b"\\ud800", b"9" * 50])
            )
        )
        text = text[:at] + more + text[at + draw(st.integers(0, 3)) :]
    return text


@settings(max_examples=150, deadline=None)
@given(mangled())
def test_reading_a_manifest_gives_one_or_says_why_not(text):
    manifest, error = attempted(lambda: parse(text), InvalidManifest)
    if manifest is None:
        assert is_short_and_final(error)
        return
    assert parse(text).sha256 == manifest.sha256
    assert manifest.wrong or parse(encode(manifest.body)).sha256 == manifest.sha256


@settings(max_examples=150, deadline=None)
@given(surprising)
def test_a_body_is_a_request_or_its_first_fault_is_named(value):
    manifest, _ = attempted(lambda: parse(json.dumps(value).encode()), InvalidManifest)
    if manifest is None:
        return
    for model in MODELS:
        valid, error = attempted(partial(validate, model, manifest.body), InvalidField)
        if valid is None:
            assert is_short_and_final(error)
            continue
        request, warnings = valid
        assert request.request_id == manifest.body["request_id"]
        assert len(encode({"warnings": warnings})) < 100_000
    repeated, _ = echo(manifest.body)
    assert len(encode(repeated)) <= LONGEST_ECHO


def attempted(call, foreseen):
    """What a call gives, or the one error that it may raise."""
    try:
        return call(), None
    except foreseen as error:
        return None, error


def is_short_and_final(error: RequestError) -> bool:
    written = encode(failure("r1", error, {}))
    return bool(error.message) and not error.retryable and len(written) < 4 * (LONGEST_MESSAGE + LONGEST_FIELD) + 1000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mangled())
def test_whatever_lies_under_requests_is_answered_once_and_nothing_else_comes_of_it(text):
    bucket, function = MemoryBucket(), Repeating()
    bucket.put("requests/check/m.json", text)
    quick = Settings(scan=Scan(seconds=0.001, settle_seconds=0))
    invocation = Invocation(bucket, function, quick, "w1", Shutdown(1))
    trigger = ScanTrigger(bucket, "check", quick.scan)
    for _ in range(3):
        trigger.scan(invocation.receive, Event())
    keys = [info.key for info in bucket.list("")]
    results = [key for key in keys if key.endswith("/result.json")]
    assert len(results) == (1 if text else 0), keys
    assert not [key for key in keys if not key.startswith(("requests/", "results/", "claims/", "index/"))], keys
    for key in results:
        envelope = json.loads(bucket.get(key))
        assert envelope["code"] == "OK" or envelope["data"]["error"]["retryable"] is False
    assert trigger.failing == 0


class Repeating(Echo):
    """Validates as check does, and repeats what it was asked."""

    def answer(self, body: Json, workspace: object) -> Answer:
        request, warnings = validate(CheckRequest, body)
        repeated, cut = echo({"images": request.images, "configure": body.get("configure", {})})
        return Answer(repeated | {"warnings": warnings + cut})

    def pointers(self, data: Json) -> dict[str, Json]:
        return {}
