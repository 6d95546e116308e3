"""Landmarks of tilted faces, whatever model finds them: one that knows upright faces only, and one that is none."""

import cv2
import numpy as np
import pytest

from shared.faces import Box
from shared.faces.rotation import measure_roll, turn_back
from shared.faces.settling import MOST_TURNS, settle
from tests.toy_onnx import face_shape

SIDE = 400
SHAPE = face_shape()[:, :2] * 100
EYES = [SHAPE[36:42].mean(axis=0), SHAPE[42:48].mean(axis=0)]
PLACE = Box(100, 100, 300, 300)


def tilted(degrees, middle=(200, 200)):
    """A picture with a red left eye and a green right one, and its 68 points."""
    turn = cv2.getRotationMatrix2D((0, 0), -degrees, 1)[:, :2]
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for eye, color in zip(EYES, [(255, 0, 0), (0, 255, 0)], strict=True):
        cv2.circle(image, tuple(int(part) for part in np.rint(turn @ eye + middle)), 8, color, cv2.FILLED)
    return image, SHAPE @ turn.T + middle


def short_sighted(image, place):
    """As the models are: it sees most of a tilt and half of a shift, and moves what it sees with the box."""
    red, green = (np.argwhere(image[..., channel] > 100).mean(axis=0)[::-1] for channel in (0, 1))
    x, y = green - red
    turn = cv2.getRotationMatrix2D((0, 0), -np.degrees(np.arctan2(y, x)) * 0.75, 1)[:, :2]
    seen = (red + green) / 2 - turn @ np.mean(EYES, axis=0)
    return SHAPE @ turn.T + (seen + place.center) / 2


def framed(points):
    x, y = points.mean(axis=0) - SHAPE.mean(axis=0)
    return Box(x - 100, y - 100, x + 100, y + 100)


@pytest.mark.parametrize("degrees", [-85, -60, -30, -4, 0, 15, 45, 60])
def test_a_model_that_sees_most_of_a_tilt_comes_to_read_the_whole(degrees):
    image, points = tilted(degrees)
    found = settle(short_sighted, image, PLACE).points
    assert measure_roll(found) == pytest.approx(degrees, abs=2)
    assert np.abs(found - points).mean() < 4


def test_a_box_beside_its_face_is_moved_onto_it_in_a_turned_picture_too():
    image, points = tilted(40, (215, 190))
    left = settle(short_sighted, image, PLACE, 40).points
    right = settle(short_sighted, image, PLACE, 40, framed).points
    assert np.abs(left - points).mean() > 5 > 4 > np.abs(right - points).mean()


def test_an_upright_face_in_its_place_costs_one_look_at_the_picture_as_it_is():
    looks = []
    settle(lambda image, place: looks.append(image) or short_sighted(image, place), tilted(2)[0], PLACE, 0, framed)
    assert len(looks) == 1
    assert (looks[0] == tilted(2)[0]).all()


def test_a_model_that_never_comes_to_rest_is_asked_so_often_and_no_more():
    looks = []
    forty = turn_back(SHAPE + 200, np.zeros((SIDE, SIDE, 3), np.uint8), -40)
    found = settle(lambda image, place: looks.append(image) or forty, tilted(0)[0], PLACE)
    assert len(looks) == 1 + MOST_TURNS
    assert np.isfinite(found.points).all()
    assert -180 <= found.tilt < 180


def test_the_points_are_the_median_of_several_looks():
    answers = iter([0, 1, 90, 2, -50])
    shifts = ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1))
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    found = settle(lambda image, place: SHAPE + next(answers), image, PLACE, 0, None, shifts)
    assert found.points == pytest.approx(SHAPE + 1)
    assert found.unrest == pytest.approx(np.sqrt(2) * np.mean([1, 90, 2, 50]))
