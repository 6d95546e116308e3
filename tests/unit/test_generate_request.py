"""What a generate request may say."""

import pytest

from functions.generate.request import GenerateRequest
from shared.contract.validation import validate
from shared.errors import InvalidField


def body(**knobs):
    return {"request_id": 1, "template_image": "t.jpg", "configure": {"user_id": "ann"} | knobs}


def knobs(**given):
    return validate(GenerateRequest, body(**given))[0].configure


def test_the_defaults_are_the_contracts():
    given = knobs().model_dump()
    assert given == {
        "references": [],
        "user_id": ["ann"],
        "sex": "secret",
        "first_diffusion_steps": 50,
        "first_denoising_strength": 0.45,
        "second_diffusion_steps": 20,
        "second_denoising_strength": 0.30,
        "more_like_me_before": 0.50,
        "more_like_me": 0.50,
        "apply_face_fusion_before": True,
        "apply_face_fusion_after": True,
        "mask_region": "edge",
        "crop_face_preprocess": True,
        "color_shift_middle": True,
        "color_shift_last": True,
        "background_restore": False,
        "skin_retouching_bool": True,
        "photo_enhancement_bool": True,
        "photo_enhancement_method": "photo_fix",
        "makeup_transfer": False,
        "makeup_transfer_ratio": 0.50,
        "seed": None,
        "another_person": "warn",
        "image_format": "base64",
        "additional_prompt": "",
    }


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("first_diffusion_steps", 0),
        ("second_diffusion_steps", 201),
        ("first_diffusion_steps", 2.5),
        ("first_diffusion_steps", "50"),
        ("second_denoising_strength", 1.01),
        ("more_like_me", -0.1),
        ("more_like_me", True),
        ("apply_face_fusion_before", 1),
        ("mask_region", "eyes"),
        ("photo_enhancement_method", "gfpgan"),
        ("makeup_transfer_ratio", 2),
        ("seed", -1),
        ("seed", 2**32),
        ("image_format", "jpg"),
        ("user_id", 7),
        ("user_id", []),
        ("user_id", "../ann"),
        ("user_id", "."),
        ("user_id", ".."),
        ("user_id", ["ann", ".."]),
        ("user_id", "ann\n"),
        ("user_id", "a" * 65),
        ("user_id", ["ann"] * 65),
        ("additional_prompt", "a" * 2001),
        ("additional_prompt", 7),
        ("sex", "a" * 65),
    ],
)
def test_a_wrong_value_is_refused_by_name(knob, value):
    with pytest.raises(InvalidField) as refused:
        knobs(**{knob: value})
    assert refused.value.field.startswith(f"configure.{knob}")


@pytest.mark.parametrize("missing", ["template_image", "configure"])
def test_a_missing_field_is_named(missing):
    given = body()
    del given[missing]
    with pytest.raises(InvalidField) as refused:
        validate(GenerateRequest, given)
    assert refused.value.field == missing


def test_several_people_come_as_a_list():
    assert knobs(user_id=["ann", "none", "bob"]).user_id == ["ann", "none", "bob"]


def test_model_id_stands_for_user_id():
    given = body(model_id="bob")
    del given["configure"]["user_id"]
    request, warnings = validate(GenerateRequest, given)
    assert request.configure.user_id == ["bob"]
    assert warnings == []


def test_an_unknown_knob_is_a_warning():
    _, warnings = validate(GenerateRequest, body(more_like_you=1))
    assert warnings == ["unknown key configure.more_like_you was ignored"]


def test_what_is_within_the_bounds_is_taken():
    given = knobs(user_id=["ann"] * 64, additional_prompt="a" * 2000, sex="a" * 64)
    assert (len(given.user_id), len(given.additional_prompt)) == (64, 2000)
    assert knobs(user_id="...").user_id == ["..."]


@pytest.mark.parametrize("user_id", [".", ".."])
def test_model_id_has_the_bounds_of_user_id(user_id):
    with pytest.raises(InvalidField):
        validate(GenerateRequest, {"request_id": 1, "template_image": "t.jpg", "configure": {"model_id": user_id}})


def assigned(**configure):
    """Who takes which face: user_id and references of each, from left to right."""
    body = {"request_id": 1, "template_image": "t.jpg", "configure": configure}
    return [(one.user_id, list(one.references)) for one in validate(GenerateRequest, body)[0].configure.assignments]


class TestReferences:
    """Pictures in place of a training, for one person or for some of several."""

    @pytest.mark.parametrize(
        ("configure", "people"),
        [
            ({"references": ["a", "b"]}, [(None, ["a", "b"])]),
            ({"references": "a"}, [(None, ["a"])]),
            ({"references": [["a", "b"]]}, [(None, ["a", "b"])]),
            ({"references": ["a"], "user_id": "ann"}, [("ann", ["a"])]),
            ({"references": ["a"], "model_id": ["ann"]}, [("ann", ["a"])]),
            ({"references": ["a"], "user_id": [None]}, [(None, ["a"])]),
            ({"references": ["a"], "user_id": None}, [(None, ["a"])]),
            ({"references": [["a"], ["b", "c"]]}, [(None, ["a"]), (None, ["b", "c"])]),
            (
                {"references": [["a"], [], None, ["b"]], "user_id": [None, "ann", "none", "bob"]},
                [(None, ["a"]), ("ann", []), ("none", []), ("bob", ["b"])],
            ),
            ({"references": [["a"], []], "user_id": ["ann", "ann"]}, [("ann", ["a"]), ("ann", ["a"])]),
            ({"references": [], "user_id": "ann"}, [("ann", [])]),
            ({"references": None, "user_id": ["ann", "none"]}, [("ann", []), ("none", [])]),
            ({"references": [[], None], "user_id": ["ann", "none"]}, [("ann", []), ("none", [])]),
        ],
    )
    def test_each_face_has_one_person(self, configure, people):
        assert assigned(**configure) == people

    @pytest.mark.parametrize(
        ("configure", "field", "told"),
        [
            ({}, "user_id", "name a user, or give pictures of the person in configure.references"),
            ({"references": []}, "user_id", "name a user"),
            ({"references": [[], []]}, "user_id", "name a user"),
            ({"user_id": [None]}, "user_id", "nobody takes face 1"),
            ({"references": [["a"], []]}, "user_id", "nobody takes face 2"),
            ({"references": [["a"], []], "user_id": ["ann", None]}, "user_id", "nobody takes face 2"),
            ({"references": ["a"], "user_id": "none"}, "user_id", "'none' leaves face 1 as it is, but .* has pictures"),
            ({"references": ["a"], "user_id": ["ann", "bob"]}, "user_id", "2 ids, but .* has 1 lists of pictures"),
            ({"references": [["a"], ["b"]], "user_id": "ann"}, "user_id", "1 ids, but .* has 2 lists"),
            ({"references": [["a"], ["b"]], "user_id": ["ann", "ann"]}, "user_id", "ann has two different lists"),
            ({"references": ["a"] * 21}, "references", "at most 20 items"),
            ({"references": [["a"] * 20] * 6}, "references", "120 pictures; .* may be 100"),
            ({"references": [["a"]] * 65}, "references", "at most 64 items"),
            ({"references": 7}, "references", "valid list"),
            ({"references": {"a": "b"}}, "references", "valid list"),
            ({"references": [7]}, "references", "valid string"),
            ({"references": [["a"], "b"]}, "references", "valid list"),
            ({"references": [["a"], [["b"]]]}, "references", "valid string"),
            ({"references": [""]}, "references", "at least 1 character"),
            ({"references": ["a", None, "b"]}, "references", "valid list"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_by_name(self, configure, field, told):
        with pytest.raises(InvalidField, match=told) as refused:
            assigned(**configure)
        assert refused.value.field.startswith(f"configure.{field}")
