"""The five points by which face networks align a face."""

import numpy as np

from shared.imaging.array_types import Points


def five_points(landmarks: Points) -> Points:
    """Return both eyes, the tip of the nose and the corners of the mouth, (5, 2), out of the 68 landmarks."""
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    return np.array([*eyes, landmarks[30], landmarks[48], landmarks[54]])
