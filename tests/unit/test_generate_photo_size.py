"""A person's photo whose face is much smaller than it is drawn."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from functions.generate.face.landmarks import face_width
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from functions.generate.photo_choice import choose_reference
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
    known = {"index": 1, "person": person, "photo": photo, "draws_photo": looks.get("drawn", True)}
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
    small = shown(face, 49)
    assert not warn_of_small_photos([made(shown(face, 128), 1, face * 4.1)])
    assert not warn_of_small_photos([made(small, 1, face * 4.1, drawn=False)])


def test_without_a_box_the_landmarks_say_how_wide_the_face_is(face):
    assert replace(shown(face, 49), box_width=None).across == pytest.approx(np.ptp(face[:, 0]) * 0.49)


def test_the_detail_of_a_face_below_80_pixels_is_not_raised(engine):
    """The same photo is drawn once as what it is, and once as if it were larger."""
    template, photo = pictures.hopper(), pictures.astronaut()
    face = largest(engine.detect(photo))
    factor = 60 / face_width(face.landmarks)
    tiny = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    landmarks = largest(engine.detect(template)).landmarks
    faint, raised = (
        fuse(template, landmarks, ReferencePhoto(tiny, face.landmarks * factor, box_width=width), 1.0).image
        for width in (60.0, 90.0)
    )
    left, top, right, bottom = (int(x) for x in (*landmarks[36:].min(axis=0), *landmarks[36:].max(axis=0)))
    detail = [cv2.Laplacian(one[top:bottom, left:right], cv2.CV_32F).std() for one in (faint, raised)]
    assert detail[0] < 0.9 * detail[1]
