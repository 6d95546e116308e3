"""The guided filter: smooths a plane where it is flat and keeps its edges, at a cost that does not grow with reach."""

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(H, W)."""


def guided_filter(plane: Plane, guide: Plane, radius: float, tolerance: float) -> Plane:
    """Smooth `plane` but where `guide` has edges.

    Args:
        plane, guide: (H, W), float32; the same array twice smooths a plane by its own edges.
        radius: reach in pixels.
        tolerance: in units of `guide`; what varies less than this within the radius is taken for flat.

    Returns:
        (H, W), float32.

    He, Sun, Tang, "Guided image filtering" (2013): a line fitted to the guide in every window, by box filters alone.
    """
    side = 2 * max(1, round(radius)) + 1

    def mean(values: Plane) -> Plane:
        averaged: Plane = cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
        return averaged

    # around the planes' own means: single precision loses what squares of 255 leave of small variances
    center, middle = np.float32(guide.mean()), np.float32(plane.mean())
    guide, plane = guide - center, plane - middle
    mean_guide, mean_plane = mean(guide), mean(plane)
    variance = np.maximum(mean(guide * guide) - mean_guide * mean_guide, 0)
    covariance: Plane = mean(guide * plane) - mean_guide * mean_plane
    slope: Plane = (covariance / (variance + tolerance * tolerance)).astype(np.float32, copy=False)
    offset = mean_plane - slope * mean_guide
    smooth: Plane = mean(slope) * guide + mean(offset) + middle
    return smooth
