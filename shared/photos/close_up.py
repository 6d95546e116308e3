"""Close-ups: the part of a photo around a face, as the photo shows it."""

import cv2
import numpy as np

from shared.faces.base import Box, Face
from shared.imaging.array_types import Image

CloseUp = tuple[Image, Face]
"""RGB, uint8, (H, W, 3), and the face in its pixel coordinates."""


def cut_close_up(image: Image, face: Face, factor: float, most: float) -> CloseUp:
    """Cut out the part of a photo around a face, and return it with the face in its pixel coordinates.

    Args:
        image: RGB, uint8, (H, W, 3).
        face: in the pixel coordinates of `image`.
        factor: side of the part over the longer side of the face's box; the part ends at the photo's borders.
        most: longest side of the result in pixels; a larger part is scaled down, a smaller one keeps its size.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = face.box.square(factor).rounded()
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    part = image[top:bottom, left:right]
    scale = min(1.0, most / max(part.shape[:2]))
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    box = Box(face.box.left - left, face.box.top - top, face.box.right - left, face.box.bottom - top)
    return np.array(part), Face(box.scaled(scale), (face.landmarks - (left, top)) * scale, face.score)
