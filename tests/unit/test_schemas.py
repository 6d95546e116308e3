"""The published schemas: made from the models, and true of the samples."""

import json

import pytest
from typer.testing import CliRunner

from functions.check.request import CheckRequest
from functions.generate.request import GenerateRequest
from functions.train.request import TrainRequest
from shared.cli import app
from shared.contract.answers import ANSWERS, CompletionEvent, ErrorAnswer, ProgressEnvelope
from shared.contract.manifests import CONTRACT, failure, running, success
from shared.contract.request import MOST_METADATA, read_metadata
from shared.contract.validation import validate
from shared.errors import InvalidField, PhotoUnavailable
from shared.events import completion_event
from shared.runtime.schemas import all_schemas
from tests.contract import SCHEMAS, require_contract, validator
from tests.deployment import ROOT

EVENTS = ROOT / "events"
REQUESTS = {"check": CheckRequest, "train": TrainRequest, "generate": GenerateRequest}
SAMPLES = {
    "check.request": ["check"],
    "train.request": ["train", "train-people"],
    "generate.request": ["generate", "generate-people", "generate-references"],
    "check.answer": ["check-answer", "error-answer"],
    "train.answer": ["train-answer", "error-answer"],
    "generate.answer": ["generate-answer", "generate-answer-noncommercial", "error-answer"],
    "progress": ["progress"],
    "event": ["completion-event"],
}


def sample(name: str) -> dict:
    return json.loads((EVENTS / f"{name}.json").read_text())


def test_the_published_schemas_are_those_of_the_models():
    """`make schemas` writes them anew; a change that readers would notice needs a line in docs/compatibility.md."""
    published = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    assert published == json.loads(json.dumps(all_schemas()))


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in SAMPLES.items() for file in files])
def test_the_samples_are_as_the_schemas_say(name, file):
    require_contract(name, sample(file))


def test_every_schema_has_a_sample_and_is_a_schema():
    assert set(SAMPLES) | {"errors"} == set(all_schemas())
    for name in SAMPLES:
        validator(name).check_schema(validator(name).schema)


@pytest.mark.parametrize("function", REQUESTS)
def test_the_samples_of_answers_are_what_the_client_reads(function):
    answer = ANSWERS[function].model_validate(sample(f"{function}-answer"))
    assert answer.contract == CONTRACT
    assert ErrorAnswer.model_validate(sample("error-answer")).data.error.retry_after == 30
    assert ProgressEnvelope.model_validate(sample("progress")).data.stage
    assert CompletionEvent.model_validate(sample("completion-event")).data.metadata == {"order": "A-1007"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("check.request", {"images": []}),
        ("check.request", {"request_id": "../x"}),
        ("check.request", {"metadata": {"order": ["A"]}}),
        ("generate.request", {"configure": {"user_id": "a b"}}),
        ("check.answer", {"code": "fine"}),
        ("check.answer", {"data": {"cost_time": 1}}),
    ],
)
def test_what_is_wrong_is_refused_by_the_schema_too(name, change):
    assert not validator(name).is_valid(sample(SAMPLES[name][0]) | change)


def test_every_envelope_says_its_contract_and_only_a_request_with_metadata_has_it():
    metadata = read_metadata({"metadata": {"order": "A-1007"}})
    answers = [success("r", "success", {}, metadata), failure("r", PhotoUnavailable("gone"), {}, metadata)]
    assert [(one["contract"], one["metadata"]) for one in answers] == [(CONTRACT, {"order": "A-1007"})] * 2
    told = running("r", {"stage": "start", "step": 0, "steps": 1, "eta_seconds": None})
    assert told["contract"] == CONTRACT
    assert "metadata" not in {*told, *success("r", "success", {})}
    for one in answers:
        event = completion_event("check", one, "s3://portraits", "results/check/r/result.json")
        require_contract("event", event)
        assert event["data"]["metadata"] == {"order": "A-1007"}


WIDE = {f"n{number}": number for number in range(MOST_METADATA + 1)}


@pytest.mark.parametrize("given", [[], "text", {"a": {}}, {"": 1}, {"a" * 65: 1}, {"a": "x" * 513}, {"b": [1]}, WIDE])
def test_metadata_that_is_too_much_is_an_error_of_the_request_and_never_repeated(given):
    with pytest.raises(InvalidField, match="metadata"):
        validate(CheckRequest, {"request_id": 1, "images": ["a"], "metadata": given})
    assert read_metadata({"metadata": given}) == {}


def test_metadata_is_repeated_without_secrets():
    told = read_metadata({"metadata": {"order": 7, "gift": True, "page": "https://u:hunter2@x.y/?sig=hunter2"}})
    assert told == {"order": 7, "gift": True, "page": "https://x.y/?sig=..."}


def test_a_strict_request_is_refused_with_the_nearest_key_and_another_is_warned():
    body = {"request_id": 1, "template_image": "t.jpg", "configure": {"user_id": "ann", "more_like_mee": 0.7}}
    assert validate(GenerateRequest, body)[1] == ["unknown key configure.more_like_mee was ignored"]
    with pytest.raises(InvalidField, match=r"did you mean configure\.more_like_me\?") as told:
        validate(GenerateRequest, body | {"strict": True})
    assert told.value.field == "configure.more_like_mee"
    assert validate(CheckRequest, {"request_id": 1, "images": ["a"], "strict": True})[1] == []


def test_the_command_prints_a_schema_and_names_the_nearest():
    runner = CliRunner()
    printed = runner.invoke(app, ["schema", "check.answer"])
    assert json.loads(printed.stdout) == json.loads((SCHEMAS / "check.answer.json").read_text())
    assert set(runner.invoke(app, ["schema"]).stdout.split()) == {path.stem for path in SCHEMAS.glob("*.json")}
    refused = runner.invoke(app, ["schema", "check.answr"])
    assert (refused.exit_code, "did you mean check.answer?" in refused.stderr) == (2, True)
