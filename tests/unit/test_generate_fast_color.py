"""Colors of large faces are changed without converting each pixel: what that may cost in levels."""

import cv2
import numpy as np
import pytest

from functions.generate.face import light
from functions.generate.face.color_change import fit_change, fit_slope
from functions.generate.face.crop import FaceCrop
from functions.generate.fusion.relight import Relighting
from shared.imaging.quantization import add_change, round_shares
from shared.imaging.reduction import reduce_by_area
from tests import pictures

CHANGE = np.array([[0.04, 0, 0, -4], [0, 0, 0, 2], [0, 0, 0, -3]])  # contrast, and shifts of all three channels


@pytest.fixture(scope="module")
def face():
    image = np.ascontiguousarray(pictures.astronaut()[75:205, 165:285])
    return FaceCrop.whole(image, np.zeros((68, 2)))


def lit(face):
    """What is neither nearly black nor white, (h, w)."""
    return ((face.lab[..., 0] > 25) & (face.image.max(axis=-1) < 250)).astype(np.float32)


def exact(face, change_of):
    changed = light.to_levels(face.lab + cv2.transform(face.lab, change_of)) - light.to_levels(face.lab)
    return face.image + changed


def test_a_change_of_lab_is_nearly_affine_in_rgb(face):
    made = cv2.transform(face.image.astype(np.float64), np.eye(3, 4) + fit_change(face, lit(face), CHANGE))
    away = np.abs(made - exact(face, CHANGE))[lit(face) > 0]
    assert away.mean() < 0.6
    assert np.quantile(away, 0.99) < 3


def test_a_gray_face_that_changes_in_lightness_stays_gray(face):
    gray = np.repeat(face.image[..., 1:2], 3, axis=-1)
    crop = FaceCrop.whole(gray, face.points)
    darker = np.array([[0, 0, 0, -8.0], [0, 0, 0, 0], [0, 0, 0, 0]])
    made = cv2.transform(gray, np.eye(3, 4) + fit_change(crop, np.ones(crop.size, np.float32), darker))
    assert np.ptp(made.astype(int), axis=-1).max() <= 1
    assert made.mean() < gray.mean() - 10


def test_a_slope_says_how_levels_follow_lightness(face):
    slope = fit_slope(face, lit(face))
    raised = cv2.transform(face.image.astype(np.float32), slope) * 3
    away = np.abs(face.image + raised - exact(face, np.array([[0, 0, 0, 3.0], [0, 0, 0, 0], [0, 0, 0, 0]])))
    away = away[lit(face) > 0]
    assert away.mean() < 0.4
    assert np.quantile(away, 0.99) < 2


def test_lightness_alone_is_that_of_lab(face):
    assert np.abs(light.to_lightness(face.image) - light.to_lab(face.image)[..., 0]).max() < 0.6
    levels = np.array([[[0, 0, 0], [1, 1, 1], [9, 9, 9], [128, 128, 128], [255, 255, 255]]], np.uint8)
    assert np.allclose(light.to_lightness(levels), [[0, 0.274, 2.465, 53.585, 100]], atol=0.01)


@pytest.mark.parametrize("tone", [light.ORDINARY, light.Tone(0.4, 0.6)])
@pytest.mark.parametrize("change", [(18, 6, 8), (-20, -5, -6)])
def test_fine_detail_is_relit_by_the_derivative(face, tone, change):
    drawn = np.clip(cv2.GaussianBlur(face.lab, (0, 0), 3), [45, -5, 5], [95, 40, 40]).astype(np.float32)
    shape = face.size
    planes = [*change, 60, 12, 16, -0.2, 60 + change[0], 0.3]
    smooth = [np.full(shape, value, np.float32) for value in planes]
    relighting = Relighting(np.dstack(smooth), np.array([0.4, 0.8, 0.8], np.float32), tone)

    def relit(lab):
        return relighting.apply(lab, [plane.copy() for plane in smooth])

    gain = relighting.gain(drawn, smooth)
    for channel in range(3):
        step = np.zeros(3, np.float32)
        step[channel] = 0.5
        slope = relit(drawn + step)[..., channel] - relit(drawn - step)[..., channel]
        # elsewhere a rule begins or ends within the step
        assert np.mean(np.abs(gain[..., channel] - slope) < 0.02) > 0.85


def test_changes_are_rounded_and_clipped():
    picture = np.array([[[0, 100, 250]]], np.uint8)
    assert add_change(picture, np.array([[[-3.2, 0.6, 9.0]]], np.float32)).tolist() == [[[0, 101, 255]]]
    assert round_shares(np.array([[0.0, 0.5, 1.2]], np.float32)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("size", [(20, 30), (61, 61), (199, 299)])
def test_a_picture_reduced_by_halves_is_the_averaged_one(size):
    image = pictures.astronaut()
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduce_by_area(image, size).astype(int) - expected).mean() < 1
