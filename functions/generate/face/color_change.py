"""Small changes of LAB colors as affine changes of RGB colors: a large picture need not be converted for them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light
from functions.generate.face.crop import FaceCrop
from shared.imaging.array_types import Mask

SIDE = 150  # pixels per row to which a change is fitted; more give the same
STEP = 2.0  # lightness by which pixels are raised and lowered to find how RGB changes with it


def fit_change(face: FaceCrop, where: Mask, change_of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the change of RGB colors, affine, (3, 4), that comes nearest to a change of their LAB colors.

    For changes of some lightness and chroma LAB is nearly linear in RGB: they err by less than a level.

    Args:
        face: the face at its working size.
        where: weight of its pixels, (h, w).
        change_of: the change of a LAB color, affine, (3, 4).
    """
    every = max(1, max(where.shape) // SIDE)
    lab = np.ascontiguousarray(face.lab[::every, ::every])
    change = light.to_levels(lab + cv2.transform(lab, change_of)) - light.to_levels(lab)
    return _fit(face, where, change, every)


def fit_slope(face: FaceCrop, where: Mask) -> NDArray[np.float64]:
    """Return by how many levels RGB changes where lightness alone changes by 1, affine in RGB colors, (3, 4).

    Args:
        face: the face at its working size.
        where: weight of its pixels, (h, w).
    """
    every = max(1, max(where.shape) // SIDE)
    lab, step = np.ascontiguousarray(face.lab[::every, ::every]), np.array([STEP, 0, 0], np.float32)
    change = light.to_levels(lab + step) - light.to_levels(lab - step)
    return _fit(face, where, change, every) / (2 * STEP)


def _fit(face: FaceCrop, where: Mask, change: NDArray[np.float32], every: int) -> NDArray[np.float64]:
    weight = where[::every, ::every]
    known = np.dstack([face.image[::every, ::every], np.ones_like(weight)]).reshape(-1, 4).astype(np.float64)
    weighted = (known * weight.reshape(-1, 1)).T
    # a gray face, whose channels are equal, has many solutions; the one of least norm keeps it gray
    fitted = np.linalg.lstsq(weighted @ known, weighted @ change.reshape(-1, 3), rcond=1e-9)[0]
    return np.asarray(fitted.T)
