"""Warp pictures by landmarks: thin-plate splines, evaluated on a coarse grid as a displacement.

The displacement is added to the exact grid of pixel positions. Where it is zero the picture stays bit-identical, which
a resampled grid of positions would not ensure.
"""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import LANDMARKS, face_width
from functions.generate.face.masks import bounds
from functions.generate.face.strips import list_strips
from functions.generate.face.working_size import EVERYTHING, Part
from functions.generate.fusion.thin_plate_spline import ThinPlateSpline
from shared.imaging.array_types import Image, Mask, Points

GRID = 48  # spline evaluations per face width; the eye's landmarks are 1/25 face widths apart
SMOOTHING = 0.02  # lets the spline miss a point by a fraction of a pixel, since landmarks are whole pixels
REACH = 1.05  # radius of the moved region in face widths: hair and collar move with the head, the background hardly
RING = 24  # fixed points around the region
KERNEL = 2  # pixels beside a place that cubic interpolation reads
LEAST = 1e-3  # pixels; what moves less stays as it is

Displacement = NDArray[np.float32]
"""(2, H, W): the offset in x and in y, in pixels, from each pixel to the place where its color is sampled."""


Picture = TypeVar("Picture", Image, Mask)


@dataclass(frozen=True, eq=False)
class Movement:
    """The movement of a face and its surroundings in a picture.

    Attributes:
        shift: the displacement in the part of the picture that moves, (2, h, w); None if nothing moves.
        corner: the top left corner of that part in the picture, x and y.
    """

    shift: Displacement | None
    corner: NDArray[np.int64]

    def of(self, image: Picture) -> Picture:
        """Return a copy of the picture, RGB, uint8, (H, W, 3), or of a mask of its size, with the face moved."""
        result = image.copy()
        if self.shift is None:
            return result
        (left, top), (height, width) = self.corner, self.shift.shape[1:]
        rows, columns = slice(0, height), slice(0, width)
        if image.ndim == 2:  # a mask stays 0 where nothing of it can get
            seen = bounds(image, float(np.abs(self.shift).max()) + KERNEL)
            rows, columns = (
                slice(max(one.start - first, 0), max(min(one.stop - first, side), 0))
                for one, first, side in zip(seen, (top, left), (height, width), strict=True)
            )
        part = self.shift[:, rows, columns]
        if part.size == 0:  # an empty mask, or one that lies elsewhere
            return result
        # sampled from the whole picture, because pixels at the border of the part may come from outside it
        corner = self.corner + np.array([columns.start, rows.start])
        sample(image, part, corner, result[corner[1] :, corner[0] :][: part.shape[1], : part.shape[2]])
        return result


STILL = Movement(None, np.zeros(2, np.int64))


def plan_movement(source: Points, target: Points, size: tuple[int, int], free: Mask | None = None) -> Movement:
    """Plan the movement of a face's points from `source` to `target`, and of its surroundings with them.

    Args:
        source, target: points of the face, (N, 2), in pixels of the picture; the first of them are its landmarks.
        size: the picture's height and width.
        free: mask, (H, W), 0 where nothing may move; None allows movement everywhere.

    Returns:
        A movement for pictures of that size; they stay bit-identical outside a circle of REACH face widths.
    """
    if np.array_equal(source, target):
        return STILL
    width = face_width(target)
    center, radius = target[:LANDMARKS].mean(axis=0), REACH * width
    angles = np.linspace(0, 2 * np.pi, RING, endpoint=False)
    ring = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    left, top = np.maximum(np.floor(center - radius), 0).astype(int)
    right, bottom = np.minimum(np.ceil(center + radius) + 1, size[::-1]).astype(int)
    if right <= left or bottom <= top:
        return STILL
    corner = np.array([left, top])
    anchors = np.vstack([target, ring]) - corner
    shifts = np.vstack([source - target, np.zeros_like(ring)])
    shift = fit_field(anchors, shifts, (bottom - top, right - left), width).enlarge((bottom - top, right - left))
    for rows in list_strips(shift.shape[1:]):
        there = _window(rows, shift.shape[2], center - corner, radius)
        shift[:, rows] *= there if free is None else there * free[top + rows.start : top + rows.stop, left:right]
    return Movement(shift, corner)


@dataclass(frozen=True, eq=False)
class Field:
    """A smooth displacement on a canvas.

    Attributes:
        coarse: the displacement on a coarse grid, (2, rows, columns), in pixels of the canvas.
    """

    coarse: Displacement

    def enlarge(self, size: tuple[int, int]) -> Displacement:
        """Return it at every pixel of the canvas drawn at this height and width, still in pixels of the canvas."""
        planes = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_CUBIC) for plane in self.coarse]
        return np.stack(planes)


def fit_field(anchors: Points, shifts: Points, size: tuple[int, int], width: float) -> Field:
    """Interpolate shifts by a thin-plate spline to a canvas.

    Args:
        anchors: points on the canvas, (N, 2).
        shifts: the displacement at each of them, (N, 2).
        size: height and width of the canvas.
        width: the face's width in pixels, which sets the spacing of the coarse grid.
    """
    step = max(width / GRID, 1.0)
    rows, columns = (int(np.ceil(side / step)) + 1 for side in size)
    # where cv2.resize places the coarse samples on the canvas
    x = (np.arange(columns) + 0.5) * size[1] / columns - 0.5
    y = (np.arange(rows) + 0.5) * size[0] / rows - 0.5
    spline = ThinPlateSpline(anchors / width, shifts, SMOOTHING / len(anchors))
    coarse = spline.evaluate(x / width, y / width)
    return Field(np.ascontiguousarray(coarse.transpose(2, 0, 1), np.float32))


@dataclass(frozen=True, eq=False)
class Projection:
    """Where on a photo the pixels of a canvas lie; the spline is evaluated once for all that is drawn by it.

    Attributes:
        align: the affine map from the canvas to the photo, (2, 3), in pixels of both.
        field: the spline's departure from it.
        size: height and width of the canvas.
        photo: height and width of the photo.
    """

    align: NDArray[np.float64]
    field: Field
    size: tuple[int, int]
    photo: tuple[int, int]

    @classmethod
    def of(
        cls, source: Points, target: Points, size: tuple[int, int], photo: tuple[int, int], width: float
    ) -> "Projection":
        """Project so that the points `source` of the photo land on `target` of the canvas, (N, 2) each.

        `size` and `photo` are heights and widths; the face on the canvas is `width` pixels wide.
        """
        align = _fit_affine(target, source)
        rough = np.hstack([target, np.ones((len(target), 1))]) @ align.T
        return cls(align, fit_field(target, source - rough, size, width), size, photo)

    def draw(self, photo: Picture, size: tuple[int, int], part: Part = EVERYTHING) -> Picture:
        """Draw a part of the canvas, at a size of its own.

        Args:
            photo: the photo, RGB, uint8, (H, W, 3), or a mask of it, (H, W), of any size, at about the scale of what
                is drawn, else details alias.
            size: height and width that the canvas is drawn at.
            part: rows and columns of that.

        Returns:
            The part, of the photo's type.
        """
        rows, columns = (np.arange(side, dtype=np.float32)[one] for side, one in zip(size, part, strict=True))
        (down, across), shown = (np.array(self.size) / size), np.array(photo.shape[:2]) / self.photo
        y, x = (rows + 0.5) * down - 0.5, (columns + 0.5) * across - 0.5
        maps = self.field.enlarge(size)[(slice(None), *part)]
        fetched = [
            plane * np.float32(factor)
            + ((along[0] * x + along[2] + 0.5) * factor - 0.5).astype(np.float32)
            + (along[1] * factor * y).astype(np.float32)[:, None]
            for plane, along, factor in zip(maps, self.align, shown[::-1], strict=True)
        ]
        # beyond the photo its mirror image is better than a black edge, but a mirrored beard or frame is none
        border = cv2.BORDER_CONSTANT if photo.ndim == 2 else cv2.BORDER_REFLECT_101
        drawn: Picture = cv2.remap(photo, fetched[0], fetched[1], cv2.INTER_CUBIC, borderMode=border)
        return drawn


def sample(image: Picture, field: Displacement, corner: NDArray[np.int64], target: Picture) -> None:
    """Write each pixel of the patch at `corner`, (x, y), of the picture, sampled from where the displacement says.

    The target, of the patch's size, holds the patch; where the displacement is zero it is left as it is.
    """
    x = np.arange(corner[0], corner[0] + field.shape[2], dtype=np.float32)
    y = np.arange(corner[1], corner[1] + field.shape[1], dtype=np.float32)
    for rows in list_strips(field.shape[1:]):
        across, down = field[0, rows], field[1, rows]
        moves = (cv2.max(cv2.absdiff(across, 0), cv2.absdiff(down, 0)) >= LEAST).view(np.uint8)
        if not moves.any():
            continue
        fetched = cv2.remap(image, x + across, y[rows, None] + down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        strip = np.ascontiguousarray(target[rows])
        cv2.copyTo(fetched, moves, strip)
        target[rows] = strip


def _fit_affine(source: Points, target: Points) -> NDArray[np.float64]:
    """Return the least-squares affine map from `source` to `target`, (2, 3); the spline then only adds the residual.

    cv2.estimateAffine2D would drop points as outliers.
    """
    solution = np.linalg.lstsq(np.hstack([source, np.ones((len(source), 1))]), target, rcond=None)[0]
    return np.asarray(solution.T)


def _window(rows: slice, columns: int, center: Points, radius: float) -> NDArray[np.float32]:
    """Return some rows of a window that is 1 in the middle and falls smoothly over the last third to 0."""
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(center[1])
    x = np.arange(columns, dtype=np.float32)[None, :] - np.float32(center[0])
    t = np.clip((1 - np.sqrt(x * x + y * y) / np.float32(radius)) * 3, 0, 1)
    window: NDArray[np.float32] = t * t * (3 - 2 * t)
    return window
