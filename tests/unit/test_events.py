"""Storage events in their real form, and the samples to which the README points."""

import base64
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.check.request import CheckRequest
from functions.generate.request import GenerateRequest
from functions.train.request import TrainRequest
from shared.buckets.base import ObjectInfo
from shared.contract.function import NAMES
from shared.contract.manifests import parse as parse_manifest
from shared.contract.trace_context import read_trace_id
from shared.contract.validation import validate
from shared.events import ObjectCreated, UnknownEvent, completion_event, parse, parse_text, put_event

EVENTS = Path(__file__).parents[2] / "events"
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


NOTHING = {"s3-test", "s3-eventbridge-folder-marker", "s3-records-empty-object", "oss-function-compute-part"}
ANSWERS = {path.stem for path in EVENTS.glob("*-answer*.json")} | {"progress", "completion-event"}
MANIFESTS = {path.stem for path in EVENTS.glob("*.json") if path.stem.partition("-")[0] in NAMES} - ANSWERS
SENDERS = sorted({path.stem for path in EVENTS.glob("*.json")} - NOTHING - MANIFESTS - ANSWERS)


def sample(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", SENDERS)
def test_every_sender_s_event_in_every_envelope_names_the_object_as_the_store_does(name):
    (created,) = parse(sample(name))
    assert (created.key, created.bucket, created.size) == ("requests/check/a b+1.json", "portraits", 104)
    assert created.etag.lower() == ETAG


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_test_events_folder_markers_empty_objects_and_parts_speak_of_nothing(name):
    assert parse(sample(name)) == []


@pytest.mark.parametrize("name", SENDERS)
def test_an_event_is_the_same_as_text_as_base64_and_in_a_queue_s_message(name):
    text = (EVENTS / f"{name}.json").read_text()
    told = parse(sample(name))
    assert parse_text(text) == parse_text(base64.b64encode(text.encode()).decode()) == told
    assert parse_text(json.dumps({"Type": "Notification", "Message": text})) == told
    assert parse({"Records": [{"eventSource": "aws:sqs", "body": text}]}) == told


def test_several_records_and_batches_of_cloud_events_are_all_read():
    records = sample("s3-records")["Records"]
    assert len(parse({"Records": records * 2})) == 2
    assert len(parse([sample("s3-cloudevent"), sample("oss-eventbridge")])) == 2


def test_removals_and_other_details_speak_of_no_object():
    assert parse({"Records": [{"eventName": "ObjectRemoved:Delete"}]}) == []
    assert parse({"Records": [{"eventName": "s3:ObjectCreated:PutTagging"}]}) == []
    assert parse({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}}) == []


@pytest.mark.parametrize(
    "event",
    [
        {"specversion": "1.0", "type": "photog.check.succeeded.v1", "data": {}},
        {"specversion": "1.0", "type": "oss:ObjectCreated:PutObject"},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]},
        {"Records": [1]},
        {"source": "aws.s3", "detail-type": "Object Created", "detail": {"object": 1}},
        {"Message": "no json"},
        ["x"],
        7,
        None,
    ],
)
def test_what_is_not_whole_or_not_of_a_store_is_refused(event):
    with pytest.raises(UnknownEvent):
        parse(event)


def test_envelopes_without_end_are_refused():
    text = "{}"
    for _ in range(8):
        text = json.dumps({"Message": text})
    with pytest.raises(UnknownEvent, match="envelopes"):
        parse_text(text)


@given(text=st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_is_ever_more_than_unknown(text):
    with contextlib.suppress(UnknownEvent):
        assert isinstance(parse_text(text), list)


def test_an_event_that_is_sent_again_names_the_same_object():
    info = ObjectInfo("requests/check/ü +.json", 5, "e", 0.0)
    (created,) = parse(put_event("b", info, "some/where/"))
    assert created.below("some/where/") == ObjectCreated("requests/check/ü +.json", "b", 5, "e")
    assert created.below("else/") is None


def test_what_is_no_storage_event_is_refused_by_its_keys():
    with pytest.raises(UnknownEvent, match="hello"):
        parse({"hello": 1})


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_the_sample_of_each_request_is_valid_and_every_key_is_known(name):
    models = {"check": CheckRequest, "train": TrainRequest, "generate": GenerateRequest}
    manifest = parse_manifest((EVENTS / f"{name}.json").read_bytes())
    _, warnings = validate(models[name.partition("-")[0]], manifest.body)
    assert warnings == []


def test_a_completion_event_has_the_same_id_however_often_it_is_made_and_another_for_another_outcome():
    ok = {"request_id": "r1", "code": "OK", "message": "success"}
    failed = ok | {"code": "error", "message": "no"}
    first, again = (completion_event("train", ok, "b", "results/train/r1/result.json") for _ in range(2))
    assert first["id"] == again["id"] != completion_event("train", failed, "b", "k")["id"]
    assert completion_event("train", failed, "b", "k")["type"] == "photog.train.failed.v1"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), None),
        (TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), None),
        ("ff" + TRACE[2:], None),
        (f"{TRACE}\r\nx: 1", None),
        (7, None),
    ],
)
def test_a_valid_traceparent_of_the_metadata_is_an_attribute_of_the_event(given, told):
    envelope = {"request_id": "r1", "code": "OK", "message": "success", "metadata": {"traceparent": given}}
    event = completion_event("train", envelope, "b", "k")
    assert event.get("traceparent") == told
    assert read_trace_id(envelope["metadata"]) == (told and "4bf92f3577b34da6a3ce929d0e0e4736")
