"""Beards drawn onto photographs, hair by hair, since no package ships a photograph of a bearded face."""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import face_width
from shared.imaging.array_types import Image, Points

Where = NDArray[np.bool_]

DARK, GRAY = (52, 38, 30), (150, 146, 142)  # RGB


def grow(image: Image, points: Points, where: Where, color: tuple[int, int, int] = DARK, seed: int = 4) -> Image:
    """Return a copy of the picture with hair of that color where the mask, bool, (H, W), is true."""
    generator = np.random.default_rng(seed)
    width = face_width(points)
    grown = image.copy()
    grown[where] = (0.45 * image[where] + 0.55 * np.array(color)).astype(np.uint8)
    rows, columns = np.nonzero(where)
    roots = generator.integers(len(rows), size=round(6000 * where.sum() / width**2))
    middle = points[8, 0]
    for root in roots:
        x, y = columns[root], rows[root]
        lean = 0.5 * (x - middle) / width + generator.normal(0, 0.25)
        length = 0.045 * width
        shade = np.clip(np.array(color) * generator.uniform(0.4, 1.5), 0, 255)
        tip = round(x + lean * length), round(y + length)
        cv2.line(grown, (int(x), int(y)), tip, [int(value) for value in shade], 1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 0.008 * width)[..., None]
    return (image + soft * (grown.astype(np.float32) - image)).astype(np.uint8)


def full(points: Points, size: tuple[int, int], below: float = 0.15) -> Where:
    """Return where a full beard is, bool, (H, W), which reaches `below` face widths below the chin."""
    width = face_width(points)
    drop = np.array([0.0, below * width])
    jaw = points[2:15] + np.sin(np.linspace(0, np.pi, 13))[:, None] ** 2 * drop
    cheeks = [
        points[14] * 0.6 + points[54] * 0.4,
        points[35],
        points[33],
        points[31],
        points[2] * 0.6 + points[48] * 0.4,
    ]
    return _fill(np.vstack([jaw, cheeks]), size) & ~_fill(points[48:60], size)


def moustache(points: Points, size: tuple[int, int]) -> Where:
    """Return where a moustache is, bool, (H, W)."""
    base, lip = points[31:36], points[48:55]
    upper = base + 0.25 * (points[51] - points[33])
    return _fill(np.vstack([upper, lip[::-1]]), size) & ~_fill(points[48:60], size)


def _fill(outline: Points, size: tuple[int, int]) -> Where:
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], 1)
    return canvas > 0
