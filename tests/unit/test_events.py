"""Storage events in their real shape, and the samples that the README points to."""

import json
from pathlib import Path

import pytest

from functions.check.request import CheckRequest
from functions.generate.request import GenerateRequest
from functions.train.request import TrainRequest
from shared.events import ObjectCreated, UnknownEvent, completed, parse
from shared.manifests import parse as parse_manifest
from shared.validation import validate

EVENTS = Path(__file__).parents[2] / "events"
ETAG = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("name", ["s3-records", "s3-eventbridge"])
def test_a_key_is_decoded_as_its_sender_encodes_it(name):
    event = json.loads((EVENTS / f"{name}.json").read_text())
    assert parse(event) == [ObjectCreated("requests/check/a b+1.json", "portraits", 104, ETAG)]


def test_test_events_removals_and_other_details_speak_of_no_object():
    assert parse({"Service": "Amazon S3", "Event": "s3:TestEvent"}) == []
    assert parse({"Records": [{"eventName": "ObjectRemoved:Delete"}]}) == []
    assert parse({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}}) == []


def test_what_is_no_storage_event_is_refused_by_its_keys():
    with pytest.raises(UnknownEvent, match="hello"):
        parse({"hello": 1})


@pytest.mark.parametrize(
    ("name", "model"), [("check", CheckRequest), ("train", TrainRequest), ("generate", GenerateRequest)]
)
def test_the_sample_of_each_request_is_valid_and_every_key_is_known(name, model):
    manifest = parse_manifest((EVENTS / f"{name}.json").read_bytes())
    _, warnings = validate(model, manifest.body)
    assert warnings == []


def test_a_completion_event_has_the_same_id_however_often_it_is_made_and_another_for_another_outcome():
    ok = {"request_id": "r1", "code": "OK", "message": "success"}
    failed = ok | {"code": "error", "message": "no"}
    first, again = (completed("train", ok, "b", "results/train/r1/result.json") for _ in range(2))
    assert first["id"] == again["id"] != completed("train", failed, "b", "k")["id"]
    assert completed("train", failed, "b", "k")["type"] == "photog.train.failed.v1"
