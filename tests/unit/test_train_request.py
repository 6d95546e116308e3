"""The validation of train requests."""

import pytest

from functions.train.plan import GAMMA, TrainingPlan
from functions.train.request import TrainRequest
from shared.contract.validation import validate
from shared.errors import InvalidField
from shared.models.diffusion import ModelProfile

BODY = {"request_id": 7, "images": ["a.jpg"], "configure": {"user_id": "ann"}}


def test_the_knobs_have_the_contracts_defaults():
    request, warnings = validate(TrainRequest, BODY)
    assert request.configure.max_train_steps == 400
    assert request.configure.val_save_checkpointing_steps == 50
    assert request.configure.sex == "secret"
    assert warnings == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_train_steps": -1}, "configure.max_train_steps"),
        ({"max_train_steps": 10_001}, "configure.max_train_steps"),
        ({"max_train_steps": "400"}, "configure.max_train_steps"),
        ({"val_save_checkpointing_steps": 0}, "configure.val_save_checkpointing_steps"),
        ({"user_id": "no/slash"}, "configure.user_id"),
        ({"user_id": "."}, "configure.user_id"),
        ({"user_id": ".."}, "configure.user_id"),
        ({"user_id": ""}, "configure.user_id"),
        ({"user_id": "a" * 65}, "configure.user_id"),
        ({"sex": "a" * 65}, "configure.sex"),
        ({"sex": 1}, "configure.sex"),
    ],
)
def test_a_wrong_knob_is_named(change, field):
    with pytest.raises(InvalidField) as raised:
        validate(TrainRequest, BODY | {"configure": BODY["configure"] | change})
    assert raised.value.field == field


def test_more_photos_than_a_worker_is_held_by_are_refused():
    validate(TrainRequest, BODY | {"images": ["a.jpg"] * 50})
    with pytest.raises(InvalidField) as raised:
        validate(TrainRequest, BODY | {"images": ["a.jpg"] * 51})
    assert raised.value.field == "images"


def test_no_photo_at_all_is_an_error_of_the_field_images():
    with pytest.raises(InvalidField) as raised:
        validate(TrainRequest, BODY | {"images": []})
    assert raised.value.field == "images"


def test_an_unknown_knob_is_a_warning():
    _, warnings = validate(TrainRequest, BODY | {"configure": BODY["configure"] | {"rank": 4}})
    assert warnings == ["unknown key configure.rank was ignored"]


def test_the_plan_follows_the_working_size():
    small, large = TrainingPlan.for_model(ModelProfile(size=128)), TrainingPlan.for_model(ModelProfile(size=1024))
    assert small.gamma == GAMMA * 16
    assert large.gamma == GAMMA
    assert small.learning_rate > large.learning_rate


def test_nobody_can_be_trained_under_the_id_that_leaves_a_face_as_it_is():
    with pytest.raises(InvalidField, match="none leaves a face"):
        validate(TrainRequest, {"request_id": 1, "images": ["a.jpg"], "configure": {"user_id": "none"}})
