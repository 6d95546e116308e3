"""Rotation of a picture about its center, and back: landmark models only know faces that are about upright."""

import cv2
import numpy as np

from shared.imaging.array_types import Image, Points


def turn_upright(image: Image, degrees: float) -> Image:
    """Rotate a square picture of a face with this roll, positive clockwise, so that the face is upright."""
    if degrees == 0:
        return image
    return cv2.warpAffine(image, _matrix(image, degrees), image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def turn_back(points: Points, image: Image, degrees: float) -> Points:
    """Convert positions in `turn_upright(image, degrees)`, (N, 2), to positions in `image`."""
    back = cv2.invertAffineTransform(_matrix(image, degrees))
    return points @ back[:, :2].T + back[:, 2]


def measure_roll(landmarks: Points) -> float:
    """Return the tilt of the line through both eyes in degrees, positive clockwise, from the 68 landmarks."""
    return measure_eye_tilt(landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0))


def measure_eye_tilt(left: Points, right: Points) -> float:
    """Return the tilt of the line through both eyes in degrees, positive clockwise; `left` is on the picture's left."""
    x, y = right - left
    return float(np.degrees(np.arctan2(y, x)))


def wrap_angle(degrees: float) -> float:
    """Return the same angle in [-180, 180)."""
    return (degrees + 180) % 360 - 180


def _matrix(image: Image, degrees: float) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
