"""Reducing a face: detail finer than the new pixels is gone, and nothing that was not there appears."""

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from shared.faces.antialiased_warp import warp_antialiased
from tests import pictures

SIDE = 256
REDUCED = [0.85, 0.6, 0.45, 0.3, 0.15, 0.07]


def scaling(factor: float) -> np.ndarray:
    """The matrix that scales a picture whose pixels have their centers at whole numbers."""
    return np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5]])


@pytest.mark.parametrize("factor", REDUCED[1:])
def test_stripes_too_fine_for_the_new_pixels_become_gray_and_no_coarser_stripes(factor):
    period = 1.4 / factor  # in pixels of the picture: a stripe needs two of the new ones
    stripes = np.tile(np.sin(2 * np.pi * np.arange(SIDE) / period).astype(np.float32), (SIDE, 1))
    reduced = warp_antialiased(stripes, scaling(factor), round(SIDE * factor))
    assert reduced[2:-2, 2:-2].std() < 0.55 * stripes.std()


@pytest.mark.parametrize("factor", REDUCED)
def test_a_photograph_is_reduced_as_pillow_reduces_it(factor):
    photo = np.ascontiguousarray(pictures.astronaut()[:SIDE, :SIDE])
    side = round(SIDE * factor)
    expected = np.asarray(Pillow.fromarray(photo).resize((side, side), Pillow.Resampling.BICUBIC)).astype(float)
    reduced = warp_antialiased(photo, scaling(side / SIDE), side)
    assert reduced.dtype == np.uint8
    assert np.sqrt(((reduced - expected)[1:-1, 1:-1] ** 2).mean()) < 5


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_picture_that_is_not_reduced_is_not_blurred(factor):
    noise = np.random.default_rng(0).uniform(0, 255, (64, 64)).astype(np.float32)
    warped = warp_antialiased(noise, scaling(factor), round(64 * factor))
    if factor == 1:
        assert np.array_equal(warped, noise)
    assert warped.std() > 0.8 * noise.std()


def test_a_turn_alone_is_no_reduction():
    photo = np.ascontiguousarray(pictures.astronaut()[:SIDE, :SIDE, 0])
    assert np.array_equal(warp_antialiased(photo, np.array([[0.0, 1, 0], [-1, 0, SIDE - 1]]), SIDE), np.rot90(photo))


@pytest.mark.parametrize("border", [cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT])
def test_only_what_is_seen_is_blurred_and_it_looks_as_if_all_were(border):
    """Also where the canvas reaches beyond the picture, or lies outside of it."""
    picture, side, factor = pictures.astronaut(), 40, 0.3
    turned = factor * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    whole = cv2.GaussianBlur(picture, (0, 0), 0.4 * np.sqrt(factor**-2 - 1))
    for middle in ([250, 100], [0, 10], [505, 400], [700, -200]):
        matrix = np.column_stack([turned, np.array([side / 2, side / 2]) - turned @ middle])
        expected = cv2.warpAffine(whole, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=border)
        seen = warp_antialiased(picture, matrix, side, border)
        assert np.abs(seen.astype(int) - expected).max() <= 2
