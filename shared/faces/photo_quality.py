"""How well a face can be seen: sharpness, light, and how much of it lies within the picture."""

import cv2
import numpy as np

from shared.faces.base import Box, Face
from shared.imaging.array_types import Image

MEASURED_SIDE = 128  # pixels that every face is brought to, so that figures of near and far faces can be compared
DARK, BRIGHT = 5, 250  # levels of 255 at which detail is gone


def measure_sharpness(image: Image, face: Face) -> float:
    """Fine detail of the face per contrast, independent of light: variance of the Laplacian over variance, at 128 px.

    An enlarged small face counts as little as it shows. Variance of the Laplacian after Pech-Pacheco et al. (2000).
    """
    gray = _measured(image, face)
    spread = max(float(gray.var()), 1.0)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var() / spread)


def measure_brightness(image: Image, face: Face) -> float:
    """Mean luma of the face in [0, 1]."""
    return float(_measured(image, face).mean() / 255)


def measure_clipping(image: Image, face: Face) -> float:
    """Share of the face in [0, 1] that is black or white without detail."""
    gray = _measured(image, face)
    return float(((gray < DARK) | (gray > BRIGHT)).mean())


def is_whole(face: Face, width: int, height: int) -> float:
    """Share in [0, 1] of the face's landmarks that lie within a picture of this size."""
    x, y = face.landmarks.T
    return float(((x >= 0) & (y >= 0) & (x < width) & (y < height)).mean())


def _measured(image: Image, face: Face) -> np.ndarray:
    crop = _within(face.box, image)
    interpolation = cv2.INTER_AREA if crop.shape[0] > MEASURED_SIDE else cv2.INTER_LINEAR
    resized = cv2.resize(crop, (MEASURED_SIDE, MEASURED_SIDE), interpolation=interpolation)
    return cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _within(box: Box, image: Image) -> Image:
    height, width = image.shape[:2]
    left, top, right, bottom = box.rounded()
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]
