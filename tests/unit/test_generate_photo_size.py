"""A person's photo whose face is much smaller than it is drawn."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from functions.generate.face.landmarks import face_width
from functions.generate.fusion.fuser import LandmarkFuser
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.person import choose_reference
from functions.generate.photo_size import is_too_small
from functions.generate.portrait import warn_of_small_photos
from shared.faces import Box
from shared.faces.base import largest
from tests import pictures


@pytest.fixture(scope="module")
def face(engine):
    """Landmarks of a frontal face that is 100 pixels wide."""
    points = largest(engine.detect(pictures.astronaut())).landmarks
    return (points - points.min(axis=0)) * (100 / face_width(points))


def shown(face, width, turn=0.0):
    """A photo that shows the face so wide; a turn moves the nose to one side, in face widths."""
    points = face * (width / 100)
    points[27:36, 0] += turn * width
    return ReferencePhoto(np.zeros((4, 4, 3), np.uint8), points, box_width=float(width))


@pytest.mark.parametrize(
    ("width", "drawn", "small"),
    [(49, 410, True), (64, 146, True), (96, 182, False), (127, 300, True), (128, 410, False), (49, 90, False)],
)
def test_a_face_below_128_pixels_is_too_small_where_it_is_more_than_doubled(face, width, drawn, small):
    assert is_too_small(shown(face, width), face * (drawn / 100)) is small


def test_a_larger_photo_is_taken_before_a_nearer_one_that_is_too_small(face):
    near, turned = shown(face, 49), shown(face, 140, turn=0.06)
    assert choose_reference([near, turned], face * 4.1) is turned


def test_the_nearest_photo_is_kept_where_it_is_large_enough(face):
    for near, drawn in ((shown(face, 128), 4.1), (shown(face, 96), 1.8)):
        assert choose_reference([near, shown(face, 400, turn=0.15)], face * drawn) is near


def test_a_profile_does_not_take_the_place_of_a_photo_that_is_too_small(face):
    near = shown(face, 49)
    assert choose_reference([near, shown(face, 140, turn=0.5)], face * 4.1) is near


def made(photo, photos, landmarks, **looks):
    """What the warning looks at in a face job."""
    person = SimpleNamespace(user_id="ann", portrayals=[photo] * photos)
    knobs = SimpleNamespace(**{"fuses_before": True, "fuses_after": True} | looks.pop("configure", {}))
    known = {"index": 1, "person": person, "photo": photo, "fuser": LandmarkFuser(), "configure": knobs}
    return SimpleNamespace(
        **known | {"face": SimpleNamespace(box=Box(0, 0, 410, 500)), "template_landmarks": landmarks}
    )


def test_a_warning_says_both_widths_what_it_will_look_like_and_what_to_add(face):
    (warning,) = warn_of_small_photos([made(shown(face, 49), 1, face * 4.1)])
    assert warning.startswith(
        "face 2 from the left: the face in the only photo of ann is 49 pixels wide and is drawn 410 pixels wide: "
    )
    assert "its similarity says nothing about sharpness" in warning
    assert warning.endswith("add a photo whose face is 128 pixels wide or more")
    (several,) = warn_of_small_photos([made(shown(face, 49), 3, face * 4.1)])
    assert "the most suitable of the 3 photos of ann" in several


def test_nothing_is_said_where_the_photo_is_large_enough_or_is_not_drawn(face):
    small, unused = shown(face, 49), {"configure": {"fuses_before": False, "fuses_after": False}}
    assert not warn_of_small_photos([made(shown(face, 128), 1, face * 4.1)])
    assert not warn_of_small_photos([made(small, 1, face * 4.1, **unused)])


def test_without_a_box_the_landmarks_say_how_wide_the_face_is(face):
    assert replace(shown(face, 49), box_width=None).across == pytest.approx(np.ptp(face[:, 0]) * 0.49)
