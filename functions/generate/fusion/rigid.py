"""Stiff things on a moving face: frames of glasses are shifted, turned and scaled with it, but not bent."""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.fusion.warp import Displacement, Movement
from shared.imaging.array_types import Mask

REACH = 0.02  # face widths around a stiff thing, within which all moves with it
SOFTNESS = 0.02  # face widths over which that ends
LEAST = 16  # pixels of the working size; fewer tell nothing of a movement
WORKING_WIDTH = 256  # pixels across the face at which that is worked out; it is smooth


def make_rigid(movement: Movement, stiff: Mask, width: float, free: Mask) -> Movement:
    """The movement with one affine map, the nearest in the least-squares sense, for all that is stiff.

    Args:
        movement: of a picture.
        stiff: (H, W) of the picture, what must not bend; as broad as high, or so: a mere line tells no affine map.
        width: of the face, in pixels.
        free: (H, W), 0 where nothing may move.
    """
    if movement.shift is None:
        return movement
    (left, top), (height, across) = movement.corner, movement.shift.shape[:2]
    part = slice(top, top + height), slice(left, left + across)
    factor = min(1.0, WORKING_WIDTH / width)
    size = max(1, round(across * factor)), max(1, round(height * factor))
    small = cv2.resize(movement.of(stiff)[part], size, interpolation=cv2.INTER_AREA)
    if np.count_nonzero(small > 0.5) < LEAST:
        return movement
    affine = _affine(small > 0.5, movement.shift)
    near = cv2.resize(_around(small, width * factor), (across, height), interpolation=cv2.INTER_LINEAR) * free[part]
    x, y = np.arange(across, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    shift = movement.shift.copy()
    for axis in range(2):
        along, down, offset = affine[:, axis]
        shift[..., axis] += near * (along * x + down * y + offset - shift[..., axis])
    return Movement(shift, movement.corner)


def _affine(where: NDArray[np.bool_], shift: Displacement) -> NDArray[np.float32]:
    """(3, 2): what a step along, one down and being there at all add to the shift; `where` is of a smaller size."""
    rows, columns = np.nonzero(where)
    x = (columns + 0.5) * shift.shape[1] / where.shape[1] - 0.5
    y = (rows + 0.5) * shift.shape[0] / where.shape[0] - 0.5
    known = np.stack([x, y, np.ones_like(x)], axis=1)
    there = shift[np.rint(y).astype(int), np.rint(x).astype(int)].astype(np.float64)
    return np.asarray(np.linalg.lstsq(known, there, rcond=None)[0], np.float32)


def _around(stiff: Mask, width: float) -> Mask:
    """The stiff things and REACH around them, soft."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(REACH * width) + 1,) * 2)
    around: Mask = cv2.GaussianBlur(np.clip(cv2.dilate(stiff, kernel), 0, 1), (0, 0), max(SOFTNESS * width, 0.3))
    return around
