"""A Gaussian blur whose cost does not grow with sigma: a wide one is computed on a reduced plane."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.imaging.reduction import reduce_by_area

Plane = NDArray[np.float32]
"""(H, W) or (H, W, channels)."""

DIRECT = 4.0  # sigma in pixels up to which the plane is blurred at its full size
REDUCED = 2.0  # sigma in pixels of the reduced plane; there, reducing and enlarging errs by less than one level
RESAMPLING = 1 / 12 + 1 / 6  # variance, in squared reduced pixels, that area averaging and linear interpolation add


def blur(plane: Plane, sigma: float, border: int = cv2.BORDER_DEFAULT) -> Plane:
    """Return the plane blurred by `sigma` pixels; float32, of the same shape.

    `border` is OpenCV's flag for what lies beyond the plane.
    """
    if sigma <= DIRECT:
        direct: Plane = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=border)
        return direct
    height, width = (max(1, round(side * REDUCED / sigma)) for side in plane.shape[:2])
    small = reduce_by_area(plane, (height, width))
    small = cv2.GaussianBlur(small, (0, 0), float(np.sqrt(REDUCED**2 - RESAMPLING)), borderType=border)
    wide: Plane = cv2.resize(small, plane.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return wide
