"""The only place where a picture's floats become bytes; NaN and infinity raise and do not become black pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import PictureFailed
from shared.imaging.array_types import Image

ADVICE = "train again if only one user's portraits fail; otherwise check the worker's models and their precision"


def require_finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the values unchanged; PictureFailed if any of them is NaN or infinite."""
    if not np.isfinite(values).all():
        raise PictureFailed(f"the picture has values that are not finite numbers: {ADVICE}")
    return values


def round_to_levels(values: NDArray[np.floating]) -> Image:
    """Round floats of any shape, in levels of 0 to 255, to 8 bits; values outside that range are clipped.

    Raises:
        PictureFailed: a value is NaN or infinite.
    """
    levels: Image = np.clip(np.rint(require_finite(values)), 0, 255).astype(np.uint8)
    return levels


def round_shares(shares: NDArray[np.float32]) -> Image:
    """Round finite floats, in shares of the brightest level of at least 0, to 8 bits; what is above 1 is clipped."""
    levels: Image = cv2.convertScaleAbs(shares, alpha=255)
    return levels


def add_change(picture: Image, change: NDArray[np.float32]) -> Image:
    """Return a picture, uint8, plus a change of the same shape in levels, rounded and clipped.

    Raises:
        PictureFailed: a value is NaN or infinite.
    """
    changed: Image = cv2.add(picture, require_finite(change), dtype=cv2.CV_8U)
    return changed
