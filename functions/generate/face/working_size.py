"""The bounded size at which what is smooth over a face is computed: a face of 2,000 px costs as much as one of 400."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.imaging.array_types import Points
from shared.imaging.reduction import reduce_by_area

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
        """Return the plane, of the full size, averaged to the small size; itself if that is the same."""
        return plane if self.small == self.full else reduce_by_area(plane, self.small)

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


def overlap(one: Part, other: Part) -> Part:
    """Return the rows and columns that two parts have in common; none if they have none."""
    starts = [max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    stops = [max(min(a.stop, b.stop), start) for a, b, start in zip(one, other, starts, strict=True)]
    return slice(starts[0], stops[0]), slice(starts[1], stops[1])


def shift(part: Part, down: int, across: int) -> Part:
    """Return the same rows and columns, counted from another corner."""
    rows, columns = part
    return slice(rows.start + down, rows.stop + down), slice(columns.start + across, columns.stop + across)
