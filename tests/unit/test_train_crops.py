"""Faces cut out of photos."""

import cv2
import numpy as np
import pytest

from functions.train.crops import STRAIGHT, Variation, closest_crop, cut, draw_variations
from shared.faces import pose
from shared.faces.base import Box, Face
from shared.photos.close_up import cut_close_up
from tests.pictures import hopper


@pytest.fixture(scope="module")
def face(engine):
    return engine.detect(hopper())[0]


def at_border():
    """Return a face whose box touches the left border; its landmarks matter only because they are upright."""
    landmarks = np.zeros((68, 2))
    landmarks[:, 0] = np.linspace(10, 90, 68)
    landmarks[:, 1] = np.tile([100, 120], 34)
    landmarks[36:42] = (30, 90)
    landmarks[42:48] = (70, 90)
    return Face(Box(0, 60, 100, 160), landmarks, 1.0)


def test_a_tilted_face_stands_upright_in_its_crop(engine):
    photo = hopper()
    matrix = cv2.getRotationMatrix2D((270, 230), 15, 1.0)
    tilted = cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    face = engine.detect(tilted)[0]
    assert abs(pose.estimate_pose(face.landmarks).roll) > 8
    crop = cut(*closest_crop(tilted, face, 256, 1.75), 256, 1.75, 0.1)
    upright = engine.detect(crop.image)[0]
    assert abs(pose.estimate_pose(upright.landmarks).roll) < 3


def test_the_framing_decides_how_large_the_face_is(engine, face):
    for framing in (1.75, 2.2):
        crop = cut(*closest_crop(hopper(), face, 256, framing), 256, framing, 0.1)
        found = engine.detect(crop.image)[0]
        assert found.box.width == pytest.approx(256 / framing, rel=0.15)
        assert found.box.center == pytest.approx((128, 128), abs=16)


def test_a_mirrored_crop_is_the_mirror_of_the_straight_one(face):
    close = closest_crop(hopper(), face, 64, 1.75)
    straight = cut(*close, 64, 1.75, 0.1, STRAIGHT)
    mirrored = cut(*close, 64, 1.75, 0.1, Variation(mirrored=True))
    assert np.array_equal(mirrored.image, straight.image[:, ::-1])
    assert np.array_equal(mirrored.mask, straight.mask[:, ::-1])


def test_variations_are_different_and_come_with_their_mirrors():
    made = draw_variations(3, np.random.default_rng(0))
    assert len(set(made)) == 6
    assert sum(one.mirrored for one in made) == 3
    assert made[0] == STRAIGHT


def test_the_mask_is_full_on_the_face_and_little_beside_it(face):
    crop = cut(*closest_crop(hopper(), face, 64, 1.75), 64, 1.75, 0.1)
    assert crop.mask[32, 32] > 0.99
    assert crop.mask[62, 1] == pytest.approx(0.1)
    assert crop.mask.dtype == np.float32


def test_nothing_is_learned_from_beyond_the_photos_border():
    photo = np.full((300, 300, 3), 128, np.uint8)
    crop = cut(photo, at_border(), 64, 1.75, 0.1)
    assert (crop.mask[:, :10] == 0).all()
    assert (crop.mask[20:44, 16:48] > 0.5).all()


def test_a_close_up_keeps_the_photos_own_pixels_and_moves_the_face_along(face):
    photo = hopper()
    part, moved = cut_close_up(photo, face, 2.2, most=10_000)
    shift = face.box.left - moved.box.left, face.box.top - moved.box.top
    height, width = part.shape[:2]
    left, top = round(shift[0]), round(shift[1])
    assert np.array_equal(part, photo[top : top + height, left : left + width])
    assert np.allclose(face.landmarks - shift, moved.landmarks)


def test_a_close_up_is_no_larger_than_asked(face):
    part, moved = cut_close_up(hopper(), face, 2.2, most=100)
    assert max(part.shape[:2]) == 100
    assert moved.box.width == pytest.approx(100 / 2.2, rel=0.1)
