"""Photos that come under the id of somebody who is known, compared with that person."""

import json

import numpy as np
import pytest

from shared.contract import keys
from shared.contract.users import ReferenceRecord, UserModel
from shared.errors import AnotherPerson
from shared.photos import known_person
from shared.photos.assessment import PhotoAssessment
from shared.photos.known_person import compare_again, compare_with_known, judge_replacement
from shared.photos.person_photos import JudgedPhoto
from shared.settings import Limits
from tests.fake_workspace import FakeWorkspace

FOLDER = "results/generate/g1/a1/people/ann/"


class Ruler:
    """An engine whose face vectors are points on a line; one person's are less than 1 apart."""

    name, same_person = "ruler", 1.0

    def distance(self, a, b):
        return float(abs(a - b).max())


def workspace(*places, engine="ruler", **more):
    """A bucket that knows ann by photos at these places on the line."""
    face = {"landmarks": [(1.0, 1.0)] * 68, "box": (0.0, 0.0, 2.0, 2.0)}
    references = [
        ReferenceRecord(key=f"{FOLDER}{index}.png", embedding=[place], **face) for index, place in enumerate(places)
    ]
    ann = {"user_id": "ann", "request_id": "g1", "lora": None, "base_model": "b", "trigger": "", **more}
    model = UserModel(face_engine=engine, references=references, **ann)
    files = {one.key: str(place).encode() for one, place in zip(references, places, strict=True)}
    return FakeWorkspace(files | {keys.model("ann"): model.model_dump_json().encode()})


def compare(desk, *places, user_id="ann"):
    return compare_with_known(user_id, [np.array([float(one)]) for one in places], desk, Ruler(), Limits())


def judge(known, wanted="warn"):
    return judge_replacement(known, wanted, "images")


def test_photos_of_the_known_person_and_of_somebody_new_are_nothing_to_talk_about():
    for known in (compare(workspace(0, 0.4), 0.2, 0.9), compare(workspace(0), 5, user_id="bob")):
        assert not known.is_another
        assert judge(known) == judge(known, "refuse") == []
    assert compare(workspace(0), 5, user_id="bob").likeness is None


def test_another_persons_photos_are_refused_warned_of_or_let_through_as_the_request_says():
    known = compare(workspace(0, 0.4), 3, 3.5)
    assert (known.is_another, known.likeness) == (True, 0.0)
    with pytest.raises(AnotherPerson, match="these photos show somebody else than the ann who is known") as refused:
        judge(known, "refuse")
    assert (refused.value.field, refused.value.retryable) == ("images", False)
    assert 'another_person "replace"' in refused.value.message
    assert judge(known) == [
        "these photos show somebody else than the ann who is known (likeness 0.0 of at least 0.5), and take their place"
    ]
    assert judge(known, "replace") == []


def test_who_became_known_under_the_id_during_the_work_is_compared_at_its_end():
    def again(desk):
        return compare_again(early, [np.array([3.0])], desk, Ruler(), Limits())

    early = compare(FakeWorkspace(), 3)
    assert again(FakeWorkspace()) is early
    meanwhile = workspace(0)
    model = json.loads(meanwhile.objects[keys.model("ann")]) | {"committed": 7.5}
    meanwhile.objects[keys.model("ann")] = json.dumps(model).encode()
    assert (again(meanwhile).is_another, again(meanwhile).moment) == (True, 7.5)


def test_what_years_or_a_beard_can_make_is_a_warning_and_no_refusal():
    known = compare(workspace(0), 1.05)
    assert not known.is_another
    (doubt,) = judge(known, "refuse")
    assert doubt.startswith("these photos may not show the ann who is known (likeness 0.475 of at least 0.5)")
    assert judge(known, "replace") == []


def test_one_bad_photo_on_either_side_makes_nobody_another_person():
    assert not compare(workspace(0, 0.1, 0.2, 2.5), 0.3, 0.2, 0.1).is_another
    assert not compare(workspace(0, 0.1, 0.2), 0.3, 0.2, 0.1, 2.5).is_another
    assert compare(workspace(0, 0.1, 0.2, 2.5), 2.5, 2.6, 2.4).is_another, "one stray photo makes nobody the same"


def test_vectors_of_another_engine_are_never_compared_but_made_anew_from_the_photos(monkeypatch):
    read = []

    def look(file, engine, limits):
        if not isinstance(file, bytes):
            return JudgedPhoto(PhotoAssessment.of_error(file))
        read.append(file)
        return JudgedPhoto(PhotoAssessment(1, embedding=np.array([float(file)])))

    monkeypatch.setattr(known_person, "judge_reference", look)
    desk = workspace(0, 0.1, 0.2, 0.3, 0.4, 9, 9, engine="another")
    assert not compare(desk, 0.2).is_another
    assert len(read) == known_person.MOST_MEASURED
    assert compare(desk, 3).is_another
    for key in [key for key in desk.objects if key.startswith(FOLDER)]:
        del desk.objects[key]
    known = compare(desk, 3)
    assert (known.likeness, known.is_another) == (None, False)
    (told,) = judge(known, "refuse")
    assert "was not compared" in told


def test_a_record_that_cannot_be_used_or_compared_stops_nobody():
    broken = FakeWorkspace({keys.model("ann"): b"{"})
    assert judge(compare(broken, 3), "refuse") == []
    assert compare(workspace(0), 3).moment == 0.0
    odd = compare_with_known("ann", [np.array([3.0, 3.0])], workspace(0), Ruler(), Limits())
    assert odd.likeness is None
    assert len(judge(odd)) == 1
