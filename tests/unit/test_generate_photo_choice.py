"""Which of a person's photos is drawn on a template's face."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from functions.generate.face.gaze import measure_gaze
from functions.generate.face.landmarks import EYES, NOSE_BRIDGE, face_width, mirror
from functions.generate.fusion.detail_match import measure_focus
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.photo_choice import choose_reference, measure_stretch
from shared.faces.base import largest
from tests import pictures


@pytest.fixture(scope="module")
def photo(engine):
    image = pictures.astronaut()
    return ReferencePhoto(image, largest(engine.detect(image)).landmarks)


def turn(points, share):
    """The landmarks of a head that is turned: all but the jaw move to one side."""
    turned = points.copy()
    turned[17:, 0] += share * face_width(points)
    return turned


def look(points, aside):
    """A picture of eyes alone whose irises are so far right of their middles, in eye widths."""
    image = np.full((200, 300, 3), 235, np.uint8)
    for eye in EYES:
        width = np.ptp(points[eye][:, 0])
        x, y = points[eye].mean(axis=0)
        cv2.circle(image, (round(x + aside * width), round(y)), round(0.2 * width), (50, 40, 30), -1)
    return image


@pytest.mark.parametrize("aside", [-0.2, 0.0, 0.15])
def test_the_gaze_is_where_the_irises_are(photo, aside):
    points = (photo.landmarks - photo.landmarks.min(axis=0)) * (250 / face_width(photo.landmarks)) + [20, -20]
    image = look(points, aside)
    assert measure_gaze(image, points) == pytest.approx(aside, abs=0.04)
    assert measure_gaze(image[:, ::-1], mirror(points, 300)) == pytest.approx(-aside, abs=0.04)


def test_shut_eyes_have_no_gaze(photo):
    shut = photo.landmarks.copy()
    for eye in EYES:
        shut[eye, 1] = shut[eye, 1].mean()
    assert measure_gaze(photo.image, shut) == 0


def test_a_photo_that_looks_into_the_camera_is_taken_for_a_template_that_does(photo):
    """The one that looks aside is nearer in pose: a face at a microphone came onto a smiling one."""
    aside = replace(photo, gaze=-0.2, landmarks=turn(photo.landmarks, 0.02))
    ahead = replace(photo, gaze=0.0)
    assert choose_reference([aside, ahead], aside.landmarks, 0.0) is ahead
    assert choose_reference([aside, ahead], aside.landmarks, -0.2) is aside


def test_a_gaze_that_is_mirrored_looks_to_the_other_side(photo):
    aside = replace(photo, gaze=-0.2, landmarks=turn(photo.landmarks, 0.02))
    taken = choose_reference([aside], mirror(aside.landmarks, photo.image.shape[1]), 0.2)
    assert taken.gaze == 0.2
    assert np.array_equal(taken.image, photo.image[:, ::-1])


def test_open_eyes_are_taken_before_shut_ones(photo):
    points = photo.landmarks.copy()
    for eye in EYES:
        points[eye, 1] = points[eye, 1].mean() + 0.1 * (points[eye, 1] - points[eye, 1].mean())
    shut, other = replace(photo, landmarks=points), replace(photo, landmarks=turn(photo.landmarks, 0.04))
    assert choose_reference([shut, other], photo.landmarks) is other
    assert choose_reference([shut, other], points) is shut


def test_a_face_turned_the_other_way_is_mirrored_before_its_hidden_cheek_is_stretched(photo):
    """The whole cost is large, since nothing else fits: with a factor for the mirror it was never paid."""
    turned = replace(photo, landmarks=turn(photo.landmarks, -0.07))
    template = turn(photo.landmarks, 0.07)
    template[48:] += [0, 0.1 * face_width(template)]  # nor does the mouth fit
    assert not np.shares_memory(choose_reference([turned], template).image, photo.image)


def test_the_side_that_is_stretched_most_counts(photo):
    straight = photo.landmarks.copy()
    middle = straight[[*range(1, 5), *range(12, 16)], 0].mean()
    straight[NOSE_BRIDGE, 0] = middle
    left, right = straight.copy(), straight.copy()
    left[NOSE_BRIDGE, 0] -= 0.2 * face_width(straight)
    right[NOSE_BRIDGE, 0] += 0.2 * face_width(straight)
    assert measure_stretch(straight, straight) == 0
    assert measure_stretch(left, right) == pytest.approx(measure_stretch(right, left), rel=0.1)
    assert measure_stretch(left, right) > measure_stretch(straight, right) > 0


def test_of_two_photos_alike_the_sharp_one_is_taken(photo):
    large = cv2.resize(photo.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    points = photo.landmarks * 2 + 0.5
    soft = cv2.GaussianBlur(photo.image, (0, 0), 3)
    sharp, blurred = (measure_focus(one, photo.landmarks) for one in (photo.image, soft))
    assert blurred > 2 * sharp > 0
    portrayals = [replace(photo, image=soft, blur=blurred), replace(photo, blur=sharp)]
    assert choose_reference(portrayals, points) is portrayals[1]
    assert measure_focus(large, points) > 0


def test_a_blurred_photo_has_the_detail_of_a_smaller_one(photo):
    width = face_width(photo.landmarks)
    assert photo.detailed_width == width
    assert replace(photo, blur=3.75 / width).detailed_width == pytest.approx(width / 3)
