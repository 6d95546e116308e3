"""Twice the size: as large as promised, seamless, and nearer to the truth than plain enlarging."""

import cv2
import numpy as np
import pytest

from functions.generate.networks import upscale
from functions.generate.networks.upscale import upscale_2x
from tests import pictures


class Nearest:
    """A network that repeats pixels, and counts what it is shown."""

    def __init__(self, scale):
        self.scale, self.largest = scale, 0

    def __call__(self, image):
        self.largest = max(self.largest, *image.shape[:2])
        return image.repeat(self.scale, axis=0).repeat(self.scale, axis=1).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (255, 64), (256, 64), (300, 513)])
def test_the_size_doubles(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert upscale_2x(image, None).shape == (2 * shape[0], 2 * shape[1], 3)


def test_it_comes_nearer_to_the_large_picture_than_enlarging_alone():
    large = pictures.astronaut()
    small = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(small, (512, 512), interpolation=cv2.INTER_LANCZOS4)

    def error(made):
        return float(np.square(made.astype(float) - large).mean())

    assert error(upscale_2x(small, None)) < 0.93 * error(plain)


def test_strips_leave_no_seam(monkeypatch):
    image = pictures.hopper()
    whole = upscale_2x(image, None)
    monkeypatch.setattr(upscale, "STRIP", 41)
    assert np.array_equal(upscale_2x(image, None), whole)


def test_a_flat_picture_stays_flat():
    assert (upscale_2x(np.full((40, 50, 3), 77, np.uint8), None) == 77).all()


def test_an_edge_does_not_ring():
    edge = np.full((40, 40, 3), 60, np.uint8)
    edge[:, 20:] = 190
    made = upscale_2x(edge, None)
    plain = cv2.resize(edge, (80, 80), interpolation=cv2.INTER_LANCZOS4)
    assert made.min() >= plain.min()
    assert made.max() <= plain.max()


@pytest.mark.parametrize("scale", [2, 4])
def test_a_network_works_on_tiles_without_seams(scale):
    image = pictures.group()
    network = Nearest(scale)
    made = upscale_2x(image, network)
    assert network.largest <= upscale.TILE + 2 * upscale.CONTEXT
    assert np.array_equal(made, image.repeat(2, axis=0).repeat(2, axis=1))
