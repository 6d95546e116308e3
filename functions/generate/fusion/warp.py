"""Warp pictures by landmarks: thin-plate splines, evaluated on a coarse grid as a displacement.

The displacement is added to the exact grid of pixel positions. Where it is zero the picture stays bit-identical, which
a resampled grid of positions would not ensure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import LANDMARKS, face_width
from functions.generate.face.masks import bounds
from functions.generate.face.strips import list_patches, list_strips
from functions.generate.face.working_size import EVERYTHING, Part
from functions.generate.fusion.thin_plate_spline import ThinPlateSpline
from shared.imaging.array_types import Image, Mask, Points

GRID = 48  # spline evaluations per face width; the eye's landmarks are 1/25 face widths apart
SMOOTHING = 0.02  # lets the spline miss a point by a fraction of a pixel, since landmarks are whole pixels
REACH = 1.05  # radius of the moved region in face widths: hair and collar move with the head, the background hardly
RING = 24  # fixed points around the region
# of the projection's smallest singular value, in those of its affine map: up to the first what is drawn is not shown in
# the photo, from the second it is
FOLDED, STRETCHED = 0.2, 0.4
DENSE = 8  # times as many samples as the coarse grid has
KERNEL = 2  # pixels beside a place that cubic interpolation reads
LEAST = 0.02  # pixels; what moves less stays as it is: not even an edge changes by more than two levels

Displacement = NDArray[np.float32]
"""(2, H, W): the offset in x and in y, in pixels, from each pixel to the place where its color is sampled."""


Picture = TypeVar("Picture", Image, Mask)


@dataclass(frozen=True, eq=False)
class Movement:
    """The movement of a face and its surroundings in a picture.

    Attributes:
        shift: the displacement in the part of the picture that moves, (2, h, w), in pixels of the picture; smooth,
            and has a size of its own. None if nothing moves.
        part: rows and columns of the picture that it covers.
        free: mask of the picture, (H, W), 0 where nothing may move; None if all may.
    """

    shift: Displacement | None
    part: Part = EVERYTHING
    free: Mask | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the part, in pixels of the picture."""
        rows, columns = self.part
        return rows.stop - rows.start, columns.stop - columns.start

    def of(self, image: Picture) -> Picture:
        """Return a copy of the picture, RGB, uint8, (H, W, 3), or of a mask of its size, with the face moved."""
        result = image.copy()
        if self.shift is None:
            return result
        top, left = (side.start for side in self.part)
        moving = np.maximum(*np.abs(self.shift)) >= LEAST
        if image.ndim == 2:  # a mask stays 0 where nothing of it can get
            there = np.zeros(image.shape, np.uint8)
            there[bounds(image, float(np.abs(self.shift).max()) + KERNEL)] = 1
            moving &= cv2.resize(there[self.part], moving.shape[::-1], interpolation=cv2.INTER_AREA) > 0
        planes = [cv2.resize(plane, self.size[::-1], interpolation=cv2.INTER_LINEAR) for plane in self.shift]
        for rows, columns in list_patches(moving, self.size):
            patch = slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
            shift = [plane[rows, columns] for plane in planes]
            if self.free is not None:
                shift = [plane * self.free[patch] for plane in shift]
            # sampled from the whole picture, because pixels at the border of the patch may come from outside it
            _sample(image, shift, patch, result[patch])
        return result


STILL = Movement(None)


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
    ring = _surround(center, radius)
    left, top = (int(side) for side in np.maximum(np.floor(center - radius), 0))
    right, bottom = (int(side) for side in np.minimum(np.ceil(center + radius) + 1, size[::-1]))
    if right <= left or bottom <= top:
        return STILL
    corner, part = np.array([left, top]), (bottom - top, right - left)
    anchors = np.vstack([target, ring]) - corner
    shifts = np.vstack([source - target, np.zeros_like(ring)])
    field = fit_field(anchors, shifts, part, width)
    shift = field.enlarge(field.dense(part))
    shift *= _window(shift.shape[1:], part, center - corner, radius)
    held = free is not None and not np.all(free[top:bottom, left:right] == 1)
    return Movement(shift, (slice(top, bottom), slice(left, right)), free if held else None)


@dataclass(frozen=True, eq=False)
class Field:
    """A smooth displacement on a canvas.

    Attributes:
        coarse: the displacement on a coarse grid, (2, rows, columns), in pixels of the canvas.
    """

    coarse: Displacement

    def dense(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width, at most those of `size`, from which linear interpolation errs by 0.05 pixels."""
        height, width = (min(DENSE * grid, full) for grid, full in zip(self.coarse.shape[1:], size, strict=True))
        return height, width

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

        `size` and `photo` are heights and widths; the face on the canvas is `width` pixels wide. Far from the face the
        projection is affine: from a turned head the spline alone would fold another face out of its far side.
        """
        align = _fit_affine(target, source)
        rough = np.hstack([target, np.ones((len(target), 1))]) @ align.T
        ring = _surround(target.mean(axis=0), REACH * width)
        shifts = np.vstack([source - rough, np.zeros_like(ring)])
        return cls(align, fit_field(np.vstack([target, ring]), shifts, size, width), size, photo)

    def measure_shown(self, size: tuple[int, int]) -> Mask:
        """Return the mask, (H, W), of the canvas that is 0 where the photo does not show what is drawn there.

        That is where a side of the face that is turned away in the photo is folded, or stretched out of a few of its
        pixels: where the smallest singular value of the projection's derivative is small beside that of its affine map.
        """
        turn, (rows, columns) = self.align[:, :2], self.field.coarse.shape[1:]
        slopes = np.gradient(self.field.coarse, axis=(2, 1))
        steps = self.size[1] / columns, self.size[0] / rows
        bent = np.stack([slope / step for slope, step in zip(slopes, steps, strict=True)], axis=-1)
        relative = np.linalg.inv(turn) @ (bent.transpose(1, 2, 0, 3) + turn)
        (a, b), (c, d) = relative.transpose(2, 3, 0, 1)
        least = (np.hypot(a + d, b - c) - np.hypot(a - d, b + c)) / 2  # negative where it is folded
        mask = np.clip((least - FOLDED) / (STRETCHED - FOLDED), 0, 1).astype(np.float32)
        shown: Mask = np.clip(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
        return shown

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
        along_x, along_y = [], []
        for axis, factor in zip(self.align, shown[::-1], strict=True):
            along_x.append(((axis[0] * x + axis[2] + 0.5) * factor - 0.5).astype(np.float32))
            along_y.append((axis[1] * factor * y).astype(np.float32)[:, None])
        smooth = self.field.enlarge(self.field.dense(size)) * shown[::-1, None, None].astype(np.float32)
        maps = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)[part] for plane in smooth]
        # beyond the photo its mirror image is better than a black edge, but a mirrored beard or frame is none
        border = cv2.BORDER_CONSTANT if photo.ndim == 2 else cv2.BORDER_REFLECT_101
        drawn: Picture = np.empty((len(y), len(x), *photo.shape[2:]), photo.dtype)
        for strip in list_strips(drawn.shape) if drawn.size else ():
            strips = [one[strip] + horizontal for one, horizontal in zip(maps, along_x, strict=True)]
            for one, vertical in zip(strips, along_y, strict=True):
                one += vertical[strip]
            cv2.remap(photo, strips[0], strips[1], cv2.INTER_CUBIC, dst=drawn[strip], borderMode=border)
        return drawn


def _surround(center: Points, radius: float) -> Points:
    """Return RING points on a circle, (RING, 2)."""
    angles = np.linspace(0, 2 * np.pi, RING, endpoint=False)
    ring: Points = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return ring


def _sample(image: Picture, shift: Sequence[NDArray[np.float32]], patch: Part, target: Picture) -> None:
    """Write each pixel of a patch of the picture, sampled from where the displacement says.

    Args:
        image: the picture.
        shift: the displacement in x and in y, in pixels, (h, w) each; where it is zero, the target is left as it is.
        patch: its rows and columns in the picture.
        target: where the patch is written.
    """
    across, down = shift
    moves = (cv2.max(cv2.absdiff(across, 0), cv2.absdiff(down, 0)) >= LEAST).view(np.uint8)
    x = np.arange(patch[1].start, patch[1].stop, dtype=np.float32)
    y = np.arange(patch[0].start, patch[0].stop, dtype=np.float32)[:, None]
    fetched = cv2.remap(image, across + x, down + y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    written = np.ascontiguousarray(target)
    cv2.copyTo(fetched, moves, written)
    target[...] = written


def _fit_affine(source: Points, target: Points) -> NDArray[np.float64]:
    """Return the least-squares affine map from `source` to `target`, (2, 3); the spline then only adds the residual.

    cv2.estimateAffine2D would drop points as outliers.
    """
    solution = np.linalg.lstsq(np.hstack([source, np.ones((len(source), 1))]), target, rcond=None)[0]
    return np.asarray(solution.T)


def _window(shape: tuple[int, ...], size: tuple[int, int], center: Points, radius: float) -> NDArray[np.float32]:
    """Return a window, of a shape of its own, that is 1 in the middle and falls smoothly over the last third to 0.

    `center`, (x, y), and `radius` are in pixels of a canvas of that size, height and width.
    """
    y, x = ((np.arange(count) + 0.5) * side / count - 0.5 for count, side in zip(shape, size, strict=True))
    y, x = (y - center[1]).astype(np.float32)[:, None], (x - center[0]).astype(np.float32)
    t = np.clip((1 - np.sqrt(x * x + y * y) / np.float32(radius)) * 3, 0, 1)
    window: NDArray[np.float32] = t * t * (3 - 2 * t)
    return window
