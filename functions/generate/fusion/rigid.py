"""Rigid objects on a moving face: frames of glasses move, turn and scale with it, but do not bend."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES, JAW
from functions.generate.face.working_size import WorkingSize
from functions.generate.fusion.warp import Displacement, Movement
from shared.imaging.array_types import Mask, Points

REACH = 0.02  # face widths around a rigid object, within which everything moves with it
SOFTNESS = 0.03  # face widths over which that fades out
LEAST = 16  # pixels of the working size; fewer are not enough to fit a movement
WORKING_WIDTH = 256  # pixels across the face at which the movement is fitted; it is smooth


def span_glasses(frames: Mask, landmarks: Points) -> Mask:
    """Return the mask, (H, W), of all that glasses span: lenses, frames, and the way to the ears.

    A frame is rarely found without a gap, and what bends it is seen on its whole length. What is found on one side is
    taken to be on the other side too.

    Args:
        frames: mask of what is found of the frames, (H, W).
        landmarks: the face's landmarks, (68, 2), in pixels of the mask.
    """
    spanned = np.zeros(frames.shape, np.float32)
    found = _find_ends(frames > 0.5)
    if not len(found):
        return spanned
    left, right = (landmarks[eye].mean(axis=0) for eye in EYES)
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    mirrored = found - 2 * ((found - (left + right) / 2) @ across)[:, None] * across
    around = np.vstack([found, mirrored, landmarks[JAW][[0, -1]]]).astype(np.float32)
    cv2.fillConvexPoly(spanned, np.round(cv2.convexHull(around)).astype(np.int32), 1.0)
    return spanned


def _find_ends(where: NDArray[np.bool_]) -> Points:
    """Return the first and the last pixel of each row in which there is any, (N, 2); they have the hull of all."""
    rows = np.flatnonzero(where.any(axis=1))
    first, last = where[rows].argmax(axis=1), where.shape[1] - 1 - where[rows, ::-1].argmax(axis=1)
    ends: Points = np.column_stack([np.concatenate([first, last]), np.concatenate([rows, rows])]).astype(float)
    return ends


def make_rigid(movement: Movement, stiff: Mask, width: float) -> Movement:
    """Replace the movement of everything rigid by one affine map, the best in the least-squares sense.

    Args:
        movement: the movement of a picture.
        stiff: mask, (H, W), of what must not bend. It must extend in both directions: a line determines no affine map.
        width: the face's width in pixels.
    """
    if movement.shift is None:
        return movement
    working = WorkingSize.of(movement.size, width, WORKING_WIDTH)
    small = working.reduce(movement.of(stiff)[movement.part])
    if np.count_nonzero(small > 0.5) < LEAST:
        return movement
    affine = _fit_affine(small > 0.5, movement.shift)
    height, across = movement.shift.shape[1:]
    near = cv2.resize(_extend(small, width * working.small[1] / working.full[1]), (across, height))
    x, y = np.arange(across, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    shift = movement.shift.copy()
    for axis in range(2):
        along, down, offset = affine[:, axis]
        shift[axis] += near * (along * x + down * y + offset - shift[axis])
    return replace(movement, shift=shift)


def _fit_affine(where: NDArray[np.bool_], shift: Displacement) -> NDArray[np.float32]:
    """Fit the shift as an affine function of its pixels' x and y under the mask `where`, which has a size of its own.

    Returns the coefficients of x, y and 1, (3, 2).
    """
    rows, columns = np.nonzero(where)
    x = (columns + 0.5) * shift.shape[2] / where.shape[1] - 0.5
    y = (rows + 0.5) * shift.shape[1] / where.shape[0] - 0.5
    known = np.stack([x, y, np.ones_like(x)], axis=1)
    there = np.stack([cv2.resize(plane, where.shape[::-1])[rows, columns] for plane in shift], axis=1)
    return np.asarray(np.linalg.lstsq(known, there, rcond=None)[0], np.float32)


def _extend(stiff: Mask, width: float) -> Mask:
    """Return the soft mask of the rigid objects and REACH around them."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(REACH * width) + 1,) * 2)
    around: Mask = cv2.GaussianBlur(np.clip(cv2.dilate(stiff, kernel), 0, 1), (0, 0), max(SOFTNESS * width, 0.3))
    return around
