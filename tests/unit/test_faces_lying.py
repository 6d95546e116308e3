"""Pictures that lie on a side or upside down: check, train and generate say the same way to turn them."""

import cv2
import numpy as np
import pytest

from functions.generate import template
from functions.generate.assignment import assign_people
from functions.generate.request import FaceAssignment
from functions.train.dataset import prepare_dataset
from shared.errors import FaceCountMismatch, NoFaceInTemplate, TooFewPhotos
from shared.faces import Box, Face, FaceError
from shared.models.diffusion import ModelProfile
from shared.photos.assessment import inspect_photo, judge_photo
from shared.settings import GenerateSettings, Limits
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.toy_onnx import face_shape

SHAPE = face_shape()[:, :2]


class Compass:
    """An engine that sees a face where the picture's bright side is up, and, if it may, worse ones on their side."""

    name, same_person = "compass", 0.5

    def __init__(self, sideways=0):
        self._sideways = sideways

    def detect(self, image):
        parts = image[: len(image) // 4], image[:, -image.shape[1] // 4 :], image[:, : image.shape[1] // 4]
        up, right, left = (part.mean() > 200 for part in parts)
        middle = np.array([image.shape[1], image.shape[0]]) / 2
        angle = np.radians(90 if right else -90 if left else 0)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        face = Face(Box(*(middle - 60), *(middle + 60)), middle + SHAPE @ turn * 60, 2.1 if up else 0.7)
        return [face] * (1 if up else self._sideways if left or right else 0)

    def embed(self, image, face):
        raise FaceError("not asked for")


def lying(turn):
    image = np.zeros((240, 240, 3), np.uint8)
    image[:80] = 255
    return np.ascontiguousarray(cv2.rotate(image, turn))


WAYS = [
    (cv2.ROTATE_90_CLOCKWISE, "counter-clockwise"),
    (cv2.ROTATE_90_COUNTERCLOCKWISE, "clockwise"),
    (cv2.ROTATE_180, "upside down"),
]


@pytest.mark.parametrize(("turn", "way"), WAYS)
def test_check_train_and_generate_say_the_same_way_to_turn_a_lying_picture(turn, way):
    expected = f"there is one when the picture is turned {way}: save it upright"
    photo = pictures.png(lying(turn))
    assert inspect_photo(photo, Compass(), Limits()).warnings == [f"no face was found; {expected}"]
    with pytest.raises(NoFaceInTemplate) as raised:
        template.find_faces(lying(turn), "a.jpg", Compass())
    assert raised.value.message == f"the template a.jpg shows no face; {expected}"
    with pytest.raises(TooFewPhotos, match=expected):
        prepare_dataset(
            ["a.jpg"], FakeWorkspace({"a.jpg": photo}), Compass(), ModelProfile(size=64, framing=1.75), Limits()
        )


def test_a_detector_that_finds_faces_on_their_side_does_not_mislead():
    """An upside-down picture was said to need a quarter turn, in which its face lay on its side."""
    (said,) = judge_photo(lying(cv2.ROTATE_180), Compass(sideways=1), []).warnings
    assert "turned upside down" in said


@pytest.mark.parametrize(("turn", "way"), WAYS[:2])
def test_faces_found_on_their_side_are_said_to_lie(turn, way):
    advice = f"the picture lies on its side: turn it {way} and save it upright"
    assert advice in judge_photo(lying(turn), Compass(sideways=2), []).warnings
    found = template.find_faces(lying(turn), "a.jpg", Compass(sideways=2))
    with pytest.raises(FaceCountMismatch, match=advice):
        assign_people(found, [FaceAssignment("ann")] * 3, "a.jpg", GenerateSettings())


def test_a_portrait_on_its_side_is_told_to_be_turned_by_real_networks(engine):
    """The network finds such a face as it lies; its landmarks took it for upright, and nothing was said."""
    lady = np.ascontiguousarray(cv2.rotate(pictures.astronaut()[20:240, 110:330], cv2.ROTATE_90_CLOCKWISE))
    said = judge_photo(lady, engine, []).warnings
    assert any("counter-clockwise" in one for one in said)
