"""A face crop: where its pixels lie in the picture, how it is reduced, and what pasting leaves alone."""

import numpy as np
import pytest

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.working_size import rescale
from tests import pictures


@pytest.fixture(scope="module")
def landmarks(engine):
    return max(engine.detect(pictures.astronaut()), key=lambda face: face.box.area).landmarks


@pytest.fixture
def crop(landmarks):
    return FaceCrop.of(pictures.astronaut(), landmarks)


def test_its_points_lie_on_the_same_pixels_as_the_picture_s_landmarks(crop, landmarks):
    x, y = np.rint(landmarks[30]).astype(int)
    inside_x, inside_y = np.rint(crop.points[30]).astype(int)
    assert np.array_equal(crop.image[inside_y, inside_x], crop.picture[y, x])


def test_its_masks_and_colors_are_made_once(crop):
    assert crop.lab is crop.lab
    assert crop.skin is crop.skin
    assert np.array_equal(crop.skin, masks.bare(crop.points, crop.size) * light.skin_likeness(crop.lab, crop.bare))


def test_a_face_outside_of_the_picture_gives_an_empty_crop(landmarks):
    assert FaceCrop.of(pictures.astronaut(), landmarks + 2000).empty


def test_reduced_it_has_its_points_on_the_same_places(crop):
    small = crop.scaled(40)
    assert small.width == pytest.approx(40, abs=1.5)
    back = rescale(small.points, small.size, crop.size)
    assert np.abs(back - crop.points).max() < 1e-9


def test_it_is_never_enlarged(crop):
    assert crop.scaled(10 * crop.width).size == crop.size


def test_pasting_changes_only_what_it_is_told_to(crop):
    where = np.zeros(crop.size, bool)
    where[10:20, 5:9] = True
    pasted = crop.paste(255 - crop.image, where)
    changed = (pasted != crop.picture).any(axis=-1)
    assert changed[crop.rows, crop.columns][10:20, 5:9].all()
    assert changed.sum() == where.sum()


def test_pasting_crops_that_overlap_keeps_what_the_first_one_brought(crop, landmarks):
    where = crop.face > 0.5
    once = crop.paste(255 - crop.image, where)
    beside = FaceCrop.of(once, landmarks + np.array([0.3 * crop.width, 0]))
    nothing = np.zeros(beside.size, bool)
    assert np.array_equal(beside.paste(255 - beside.image, nothing), once)
