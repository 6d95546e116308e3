"""Stiff things on a moving face: frames of glasses are shifted, turned and scaled with it, but not bent."""

import cv2
import numpy as np

from functions.generate.warp import Movement
from shared.images import Mask

REACH = 0.02  # face widths around a stiff thing, within which all moves with it
SOFTNESS = 0.02  # face widths over which that ends
LEAST = 16  # pixels; fewer tell nothing of a movement


def stiffened(movement: Movement, stiff: Mask, width: float, free: Mask) -> Movement:
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
    moved = movement.of(stiff)[part]
    rows, columns = np.nonzero(moved > 0.5)
    if len(rows) < LEAST:
        return movement
    known = np.stack([columns, rows, np.ones_like(rows)], axis=1).astype(np.float64)
    affine = np.linalg.lstsq(known, movement.shift[rows, columns].astype(np.float64), rcond=None)[0]
    y, x = np.mgrid[:height, :across]
    straight = np.stack([x, y, np.ones_like(x)], axis=-1) @ affine
    side = 2 * round(REACH * width) + 1
    near = cv2.dilate(moved, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    near = cv2.GaussianBlur(np.clip(near, 0, 1), (0, 0), SOFTNESS * width) * free[part]
    shift = (movement.shift + near[..., None] * (straight - movement.shift)).astype(np.float32)
    return Movement(shift, movement.corner)
