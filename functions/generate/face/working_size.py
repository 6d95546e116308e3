"""The bounded size at which what is smooth over a face is computed: a face of 2,000 px costs as much as one of 400."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.imaging.array_types import Points

HALVED = 3.0  # times that a plane is as large as the small one from which on it is halved first
Part = tuple[slice, slice]
"""Rows and columns of a canvas."""
EVERYTHING: Part = (slice(None), slice(None))
Plane = TypeVar("Plane", NDArray[np.uint8], NDArray[np.float32])
"""(H, W) or (H, W, channels)."""


@dataclass(frozen=True)
class WorkingSize:
    """Two sizes of one canvas, and the ways from one to the other.

    Attributes:
        full, small: height and width in pixels; equal if the face is small already.
    """

    full: tuple[int, int]
    small: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, ...], width: float, most: float) -> "WorkingSize":
        """Choose the size at which a face that is `width` pixels wide on the canvas has at most `most` pixels."""
        factor = min(1.0, most / width)
        return cls((size[0], size[1]), (max(1, round(size[0] * factor)), max(1, round(size[1] * factor))))

    def reduce(self, plane: Plane) -> Plane:
        """Return the plane, of the full size, averaged to the small size; itself if that is the same.

        Halving is several times faster than any other averaging, so a large plane is halved first. The last row and
        column of an odd number are dropped by it, so that what lies at the far border may be off by one pixel.
        """
        if self.small == self.full:
            return plane
        if min(plane.shape[0] / self.small[0], plane.shape[1] / self.small[1]) >= HALVED:
            height, width = plane.shape[0] // 2, plane.shape[1] // 2
            plane = cv2.resize(plane[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        reduced: Plane = cv2.resize(plane, self.small[::-1], interpolation=cv2.INTER_AREA)
        return reduced

    def enlarge(self, plane: Plane) -> Plane:
        """Return the plane, of the small size, interpolated to the full size; itself if that is the same."""
        if self.small == self.full:
            return plane
        enlarged: Plane = cv2.resize(plane, self.full[::-1], interpolation=cv2.INTER_LINEAR)
        return enlarged

    def cover(self, part: Part) -> Part:
        """Return the rows and columns of the full canvas that a part of the small one covers, and a pixel around it."""
        rows, columns = (
            slice(max(int((one.start - 1) * full / small), 0), min(int(np.ceil((one.stop + 1) * full / small)), full))
            for one, full, small in zip(part, self.full, self.small, strict=True)
        )
        return rows, columns

    def place(self, points: Points) -> Points:
        """Return where points of the full canvas, (N, 2), lie on the small one."""
        return rescale(points, self.full, self.small)


def rescale(points: Points, size: tuple[int, int], target: tuple[int, int]) -> Points:
    """Return where points, (N, 2), of a canvas of (height, width) `size` lie after it is resized to `target`.

    Coordinates refer to pixel centers, as in cv2.resize.
    """
    scale = np.array([target[1] / size[1], target[0] / size[0]])
    placed: Points = (points + 0.5) * scale - 0.5
    return placed
