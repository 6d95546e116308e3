"""Gray levels by lightness: what a gray template's palette makes of a colored face."""

import cv2
import numpy as np

from functions.generate.face import light
from tests import pictures


def test_every_gray_stays_as_it_is():
    levels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    assert np.array_equal(light.to_gray(levels), levels)


def test_a_color_becomes_the_gray_that_is_as_light():
    picture = pictures.astronaut()
    made = light.to_gray(picture)
    lab = light.to_lab(picture)
    lab[..., 1:] = 0
    expected = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[..., 1] * 255
    assert np.array_equal(made[..., 0], made[..., 1])
    assert np.array_equal(made[..., 1], made[..., 2])
    assert np.abs(made[..., 0] - expected).max() < 1.1
