"""The guided filter: smooths flat areas and keeps edges, at a cost that does not grow with the radius."""

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(H, W)."""


def guided_filter(plane: Plane, guide: Plane, radius: float, tolerance: float) -> Plane:
    """Smooth `plane` except where `guide` has edges.

    Args:
        plane, guide: float32, (H, W); pass the same array twice to keep the plane's own edges.
        radius: of the window, in pixels.
        tolerance: in units of `guide`; where the guide varies less than this within the window, it counts as flat.

    Returns:
        float32, (H, W).

    He, Sun, Tang, "Guided image filtering" (2013): in every window a linear function of the guide is fitted to the
    plane, with box filters only.
    """
    side = 2 * max(1, round(radius)) + 1

    def mean(values: Plane) -> Plane:
        averaged: Plane = cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
        return averaged

    # minus the planes' means: in single precision, small variances would be lost beside squares of 255
    center, middle = np.float32(guide.mean()), np.float32(plane.mean())
    guide, plane = guide - center, plane - middle
    mean_guide, mean_plane = mean(guide), mean(plane)
    variance = np.maximum(mean(guide * guide) - mean_guide * mean_guide, 0)
    covariance: Plane = mean(guide * plane) - mean_guide * mean_plane
    slope: Plane = (covariance / (variance + tolerance * tolerance)).astype(np.float32, copy=False)
    offset = mean_plane - slope * mean_guide
    smooth: Plane = mean(slope) * guide + mean(offset) + middle
    return smooth
