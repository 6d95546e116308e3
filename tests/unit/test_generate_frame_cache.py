"""The glasses of a template are traced once: the same face in the same picture has the same frames."""

import numpy as np
import pytest

from functions.generate.frame_cache import FrameCache
from functions.generate.fusion.landmark_fusion import find_frames
from shared.models.expiring_cache import SECONDS
from tests import pictures
from tests.clock import Clock

POINTS = np.arange(136.0).reshape(68, 2)


class Tracer:
    """Finds frames in a corner, or none in a black picture, and counts."""

    def __init__(self):
        self.asked = 0

    def __call__(self, image, landmarks):
        self.asked += 1
        mask = np.zeros(image.shape[:2], np.float32)
        mask[1:3, 2:5] = image[0, 0, 0] / 255
        return mask


@pytest.fixture
def tracer():
    return Tracer()


def picture(level, size=(8, 6, 3)):
    return np.full(size, level, np.uint8)


def test_a_real_face_keeps_its_frames_to_the_bit(engine):
    hopper = pictures.hopper()
    points, cache = engine.detect(hopper)[0].landmarks, FrameCache()
    expected = find_frames(hopper, points)
    assert expected.any()
    for _ in range(2):
        found = cache.find_frames(hopper, points)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("level", [0, 51, 255])
def test_a_face_is_traced_once_with_frames_or_without(tracer, level):
    cache, expected = FrameCache(tracer), Tracer()(picture(level), POINTS)
    for _ in range(3):
        found = cache.find_frames(picture(level), POINTS)
        assert np.array_equal(found, expected)
        found[:] = 7  # does no harm to the next
    assert tracer.asked == 1


def test_another_picture_or_another_face_of_it_is_traced_anew(tracer):
    cache = FrameCache(tracer)
    for image, points in (
        (picture(7), POINTS),
        (picture(8), POINTS),
        (picture(7, (6, 8, 3)), POINTS),
        (picture(7), POINTS + 1),
    ):
        cache.find_frames(image, points)
    assert tracer.asked == 4


def test_of_many_faces_the_last_ones_are_kept_and_for_ten_minutes(tracer):
    clock = Clock()
    cache = FrameCache(tracer, most=2, clock=clock)
    for level in (1, 2, 1, 3, 1, 2):
        cache.find_frames(picture(level), POINTS)
    assert tracer.asked == 4
    clock.now += SECONDS
    cache.expire()
    assert not list(cache._patches)
