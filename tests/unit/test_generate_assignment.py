"""Who takes which face: as many people as faces, or as faces that can be taken; and what is said of the others."""

import pytest

from functions.generate.assignment import assign_people
from functions.generate.face.landmarks import face_width
from functions.generate.request import FaceAssignment
from functions.generate.template import REFERENCES
from shared.errors import FaceCountMismatch
from shared.faces import Box, Face
from shared.faces.base import FaceSearch
from shared.settings import GenerateSettings
from tests import pictures

SETTINGS = GenerateSettings()


@pytest.fixture(scope="module")
def row(engine):
    """Makes faces of these widths that look ahead, from left to right."""
    (face,) = engine.detect(pictures.astronaut())
    ahead = (face.landmarks - face.box.center) / face_width(face.landmarks)

    def make(*widths: int) -> list[Face]:
        return [
            Face(Box(x - width / 2, 0, x + width / 2, width), ahead * width + [x, width / 2], 1.0)
            for x, width in zip(range(200, 200 + 300 * len(widths), 300), widths, strict=True)
        ]

    return make


def assign(*users: str) -> list[FaceAssignment]:
    return [FaceAssignment(user) for user in users]


def test_as_many_people_as_faces_take_them_from_left_to_right(row):
    people = assign("ann", "none", "bob")
    assert assign_people(FaceSearch(row(100, 20, 120), []), people, "t.jpg", SETTINGS) == (people, [])


def test_a_face_that_nobody_could_take_needs_no_none_and_is_named(row):
    given, warnings = assign_people(FaceSearch(row(100, 20, 120), []), assign("ann", "bob"), "t.jpg", SETTINGS)
    assert given == assign("ann", "none", "bob")
    (warning,) = warnings
    assert warning.startswith(
        "template_image: face 2 from the left is 20 pixels wide, less than the limit of 48: it stays"
    )
    assert "2 user_ids" in warning


def test_another_number_is_refused_with_both_numbers_and_the_places(row):
    with pytest.raises(FaceCountMismatch) as refused:
        assign_people(FaceSearch(row(100, 110), []), assign("ann", "bob", "cem"), "t.jpg", SETTINGS)
    assert "t.jpg shows 2 faces, but the request has 3 user_ids:" in refused.value.message
    assert "at [150, 0, 250, 100], [445, 0, 555, 110]" in refused.value.message
    assert refused.value.field == "configure.user_id"
    with pytest.raises(FaceCountMismatch, match="shows 2 faces, but the request has 1 reference list:"):
        assign_people(FaceSearch(row(100, 110), []), assign("ann"), "t.jpg", SETTINGS, REFERENCES)


def test_a_crowd_is_not_listed_whole(row):
    with pytest.raises(FaceCountMismatch) as refused:
        assign_people(FaceSearch(row(*[100] * 40), []), assign("ann"), "t.jpg", SETTINGS)
    assert refused.value.message.count("[") == 10


def test_where_the_engine_was_not_sure_is_told_with_success_and_with_refusal(row):
    """Three of a family were found, three ids given: the father's face went to nobody, and nothing said so."""
    unsure = FaceSearch(row(100, 110), [Box(0.4, 10, 90.2, 100)])
    people = assign("ann", "bob")
    given, (warning,) = assign_people(unsure, people, "t.jpg", SETTINGS)
    assert given == people
    assert "may be another face" in warning
    assert "at [0, 10, 90, 100]" in warning
    assert "[150, 0, 250, 100], [445, 0, 555, 110]" in warning
    with pytest.raises(FaceCountMismatch, match=r"may be another face.*\[0, 10, 90, 100\]"):
        assign_people(unsure, assign("ann", "bob", "cem"), "t.jpg", SETTINGS)
