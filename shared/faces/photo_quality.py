"""The quality of a face in a photo: sharpness, light, and how much of it lies within the picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from shared.faces.base import Box, Face
from shared.imaging.array_types import Image

MEASURED_SIDE = 128  # pixels to which every face is resized, so that figures of near and far faces can be compared
INEXACT = 0.015  # of a face's width: error of its outline, since a photo may end where the cheek does
DARK, BRIGHT = 5, 250  # levels of 255 below and above which there is no detail


@dataclass(frozen=True)
class FaceQuality:
    """The figures of the functions below for one face."""

    sharpness: float
    brightness: float
    clipped: float


def measure(image: Image, face: Face) -> FaceQuality:
    """Measure all figures at once, because resizing a large face takes longer than the rest."""
    gray = _crop_gray(image, face)
    return FaceQuality(_sharpness(gray), _brightness(gray), _clipping(gray))


def measure_sharpness(image: Image, face: Face) -> float:
    """Return the variance of the Laplacian over the variance, at 128 px: fine detail per contrast, whatever the light.

    Enlarging a small face does not make it sharper. Variance of the Laplacian after Pech-Pacheco et al. (2000).
    """
    return _sharpness(_crop_gray(image, face))


def measure_brightness(image: Image, face: Face) -> float:
    """Return the mean luma of the face, in [0, 1]."""
    return _brightness(_crop_gray(image, face))


def measure_clipping(image: Image, face: Face) -> float:
    """Return the share of the face, in [0, 1], that is black or white without detail."""
    return _clipping(_crop_gray(image, face))


def measure_visible_share(face: Face, width: int, height: int) -> float:
    """Return the share, in [0, 1], of the landmarks that lie within a picture of this size, up to their error."""
    x, y = face.landmarks.T
    over = INEXACT * face.box.width
    return float(((x >= -over) & (y >= -over) & (x < width + over) & (y < height + over)).mean())


def _sharpness(gray: np.ndarray) -> float:
    spread = max(float(gray.var()), 1.0)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var() / spread)


def _brightness(gray: np.ndarray) -> float:
    return float(gray.mean() / 255)


def _clipping(gray: np.ndarray) -> float:
    return float(((gray < DARK) | (gray > BRIGHT)).mean())


def _crop_gray(image: Image, face: Face) -> np.ndarray:
    crop = _within(face.box, image)
    interpolation = cv2.INTER_AREA if crop.shape[0] > MEASURED_SIDE else cv2.INTER_LINEAR
    resized = cv2.resize(crop, (MEASURED_SIDE, MEASURED_SIDE), interpolation=interpolation)
    return cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _within(box: Box, image: Image) -> Image:
    height, width = image.shape[:2]
    left, top, right, bottom = box.rounded()
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]
