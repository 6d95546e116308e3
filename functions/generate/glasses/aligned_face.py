"""A face aligned as the glasses network sees it: eyes level, at a fixed size, from brows to cheeks and ear to ear.

The recipe that trains the network aligns its faces by the same functions.
"""

import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.landmarks import EYES, fit_upright
from shared.imaging.array_types import Image, Points

WIDTH = 144  # pixels across the face
SIZE = 96, 192  # height and width of the canvas in pixels
MIDDLE = 96.0, 42.0  # the point halfway between the eyes on it

Matrix = NDArray[np.float64]
"""(2, 3): an affine map of the plane."""
Planes = NDArray[np.float32]
"""(channels, *SIZE), each from -1 to 1."""


def align(landmarks: Points) -> Matrix:
    """Return the similarity from the picture's pixels to those of the canvas, (2, 3); landmarks are (68, 2)."""
    matrix = fit_upright(landmarks, WIDTH, (0.0, 0.0))
    between = np.mean([landmarks[eye].mean(axis=0) for eye in EYES], axis=0)
    matrix[:, 2] = np.array(MIDDLE) - matrix[:, :2] @ between
    return matrix


def transform(points: Points, matrix: Matrix) -> Points:
    """Return where points, (N, 2), of the picture lie on the canvas."""
    placed: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return placed


def planes(canvas: Image, points: Points) -> Planes:
    """Return the network's input.

    Args:
        canvas: the aligned face, RGB, uint8, (*SIZE, 3).
        points: its landmarks on the canvas, (68, 2).
    """
    features = masks.eyes(points, SIZE), masks.brows(points, SIZE, 0.01)
    colors = canvas.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    stacked: Planes = np.concatenate([colors, 2 * np.stack(features) - 1]).astype(np.float32)
    return stacked
