"""A face aligned as the occluder network sees it: eyes level, at a fixed size, with masks of the face and its features.

The recipe that trains the network aligns its faces by the same functions.
"""

import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.landmarks import fit_similarity
from shared.faces.five_points import five_points
from shared.imaging.array_types import Image, Points

SIDE = 112  # pixels of the canvas
# eyes, tip of the nose and corners of the mouth on the canvas: ArcFace's, reduced so that chin and forehead are visible
ANCHORS = np.array([[40.95, 46.08], [70.90, 45.92], [56.02, 63.12], [43.72, 80.65], [68.52, 80.51]])

Matrix = NDArray[np.float64]
"""(2, 3): an affine map of the plane."""
Planes = NDArray[np.float32]
"""(channels, SIDE, SIDE), each about -1 to 1."""


def align(landmarks: Points, side: int = SIDE) -> Matrix:
    """Return the similarity from the picture's pixels to those of the canvas, (2, 3); landmarks are (68, 2)."""
    onto = fit_similarity(five_points(landmarks), (ANCHORS + 0.5) * (side / SIDE) - 0.5)
    f, s = onto.factor, onto.shift
    return np.array([[f.real, -f.imag, s.real], [f.imag, f.real, s.imag]])


def transform(points: Points, matrix: Matrix) -> Points:
    """Return where points, (N, 2), of the picture lie on the canvas."""
    placed: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return placed


def planes(canvas: Image, points: Points) -> Planes:
    """Return the network's input.

    Args:
        canvas: the aligned face, RGB, uint8, (SIDE, SIDE, 3).
        points: its landmarks on the canvas, (68, 2).
    """
    size = SIDE, SIDE
    face, features = masks.face(points, size, 0.0, 0.02), masks.features(points, size)
    colors = canvas.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    stacked: Planes = np.concatenate([colors, 2 * face[None] - 1, 2 * features[None] - 1]).astype(np.float32)
    return stacked
