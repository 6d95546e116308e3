"""Bending pictures by landmarks: thin-plate splines, evaluated on a coarse grid as a displacement.

A displacement is added to the exact grid of pixel positions. Where it is zero the picture stays bit for bit the same,
which a resampled grid of positions does not give.
"""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from functions.generate.face.landmarks import face_width, with_forehead
from shared.imaging.array_types import Image, Mask, Points

GRID = 48  # spline evaluations per face width; the eye's landmarks are 1/25 apart
SMOOTHING = 0.02  # lets the spline miss a point by a fraction of a pixel; landmarks are whole pixels
REACH = 1.05  # radius of the moved region in face widths; hair and collar move with the head, the background hardly
RING = 24  # fixed points around the region

Displacement = NDArray[np.float32]
"""(H, W, 2): how far from each pixel its color is fetched, x and y, in pixels."""


Picture = TypeVar("Picture", Image, Mask)


@dataclass(frozen=True, eq=False)
class Movement:
    """How a face and its surroundings move in a picture.

    Attributes:
        shift: a displacement of what moves at all; None leaves the picture as it is.
        corner: where that lies, x and y.
    """

    shift: Displacement | None
    corner: NDArray[np.int64]

    def of(self, image: Picture) -> Picture:
        """The picture, RGB, uint8, (H, W, 3), or a mask of its size, with the face moved."""
        result = image.copy()
        if self.shift is not None:
            (left, top), (height, width) = self.corner, self.shift.shape[:2]
            # the patch is fetched from the whole picture, so that its border can reach beyond it
            result[top : top + height, left : left + width] = sample(image, self.shift, self.corner)
        return result


STILL = Movement(None, np.zeros(2, np.int64))


def plan_movement(source: Points, target: Points, size: tuple[int, int], free: Mask | None = None) -> Movement:
    """A face's 68 `source` points to `target` and its surroundings with them, nothing beyond REACH face widths.

    Args:
        source, target: (68, 2) in pixels of the picture.
        size: its height and width.
        free: (H, W), 0 where nothing may move; None leaves all free.

    Returns:
        What moves pictures of that size; they stay bit-identical outside the circle of REACH around the face.
    """
    if np.array_equal(source, target):
        return STILL
    width = face_width(target)
    center, radius = target.mean(axis=0), REACH * width
    angles = np.linspace(0, 2 * np.pi, RING, endpoint=False)
    ring = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    left, top = np.maximum(np.floor(center - radius), 0).astype(int)
    right, bottom = np.minimum(np.ceil(center + radius) + 1, size[::-1]).astype(int)
    if right <= left or bottom <= top:
        return STILL
    corner = np.array([left, top])
    anchors = np.vstack([with_forehead(target), ring]) - corner
    shifts = np.vstack([with_forehead(source) - with_forehead(target), np.zeros_like(ring)])
    shift = interpolate_displacement(anchors, shifts, (bottom - top, right - left), width)
    shift *= _window(shift.shape[:2], center - corner, radius)[..., None]
    if free is not None:
        shift *= free[top:bottom, left:right, None]
    return Movement(shift, corner)


def draw(photo: Picture, source: Points, target: Points, size: tuple[int, int]) -> Picture:
    """The photo's face, bent so that `source` lands on `target`, on a canvas of `size` (height, width).

    Args:
        photo: RGB, uint8, or a mask; scaled about like the canvas, else details alias.
        source, target: (N, 2) in pixels of the photo and of the canvas.
    """
    align = _affine(target, source)
    rough = np.hstack([target, np.ones((len(target), 1))]) @ align.T
    field = interpolate_displacement(target, source - rough, size, face_width(target))
    x, y = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
    fetch_x = (align[0, 0] * x + align[0, 1] * y + align[0, 2]).astype(np.float32) + field[..., 0]
    fetch_y = (align[1, 0] * x + align[1, 1] * y + align[1, 2]).astype(np.float32) + field[..., 1]
    drawn: Picture = cv2.remap(photo, fetch_x, fetch_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return drawn


def interpolate_displacement(anchors: Points, shifts: Points, size: tuple[int, int], width: float) -> Displacement:
    """A thin-plate spline through `shifts` at `anchors`, for every pixel of (height, width) `size`.

    `width` is the face width, the scale of the coarse grid.
    """
    step = max(width / GRID, 1.0)
    rows, columns = (int(np.ceil(side / step)) + 1 for side in size)
    # positions of the coarse samples when cv2.resize spreads them over the canvas
    x = (np.arange(columns) + 0.5) * size[1] / columns - 0.5
    y = (np.arange(rows) + 0.5) * size[0] / rows - 0.5
    spline = RBFInterpolator(anchors / width, shifts, kernel="thin_plate_spline", smoothing=SMOOTHING / len(anchors))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    coarse = spline(grid / width).reshape(rows, columns, 2).astype(np.float32)
    field: Displacement = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return field


def sample(image: Picture, field: Displacement, corner: NDArray[np.int64]) -> Picture:
    """The patch at `corner` (x, y) of the picture, each pixel fetched from where the field says."""
    height, width = field.shape[:2]
    x = np.arange(corner[0], corner[0] + width, dtype=np.float32)
    y = np.arange(corner[1], corner[1] + height, dtype=np.float32)
    fetched: Picture = cv2.remap(
        image,
        x[None, :] + field[..., 0],
        y[:, None] + field[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    still = (np.abs(field[..., 0]) < 1e-3) & (np.abs(field[..., 1]) < 1e-3)
    fetched[still] = image[corner[1] : corner[1] + height, corner[0] : corner[0] + width][still]
    return fetched


def _affine(source: Points, target: Points) -> NDArray[np.float64]:
    """(2, 3) least-squares affine map from `source` to `target`: the spline then only carries what is left.

    cv2.estimateAffine2D would drop points as outliers.
    """
    solution = np.linalg.lstsq(np.hstack([source, np.ones((len(source), 1))]), target, rcond=None)[0]
    return np.asarray(solution.T)


def _window(shape: tuple[int, ...], center: Points, radius: float) -> NDArray[np.float32]:
    """1 in the middle, falling smoothly over the last third to exactly 0 at the radius."""
    y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(center[1])
    x = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(center[0])
    t = np.clip((1 - np.hypot(x, y) / np.float32(radius)) * 3, 0, 1)
    window: NDArray[np.float32] = t * t * (3 - 2 * t)
    return window
