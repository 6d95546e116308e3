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
from functions.generate.fusion.thin_plate_spline import ThinPlateSpline
from shared.imaging.array_types import Image, Mask, Points

GRID = 48  # spline evaluations per face width; the eye's landmarks are 1/25 face widths apart
SMOOTHING = 0.02  # lets the spline miss a point by a fraction of a pixel, since landmarks are whole pixels
REACH = 1.05  # radius of the moved region in face widths: hair and collar move with the head, the background hardly
RING = 24  # fixed points around the region

Displacement = NDArray[np.float32]
"""(H, W, 2): the offset in x and y, in pixels, from each pixel to the place where its color is sampled."""


Picture = TypeVar("Picture", Image, Mask)


@dataclass(frozen=True, eq=False)
class Movement:
    """The movement of a face and its surroundings in a picture.

    Attributes:
        shift: the displacement in the part of the picture that moves, (h, w, 2); None if nothing moves.
        corner: the top left corner of that part in the picture, x and y.
    """

    shift: Displacement | None
    corner: NDArray[np.int64]

    def of(self, image: Picture) -> Picture:
        """Return a copy of the picture, RGB, uint8, (H, W, 3), or of a mask of its size, with the face moved."""
        result = image.copy()
        if self.shift is not None and (image.ndim == 3 or image.any()):
            (left, top), (height, width) = self.corner, self.shift.shape[:2]
            # sampled from the whole picture, because pixels at the border of the part may come from outside it
            result[top : top + height, left : left + width] = sample(image, self.shift, self.corner)
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
    shift = interpolate_displacement(anchors, shifts, (bottom - top, right - left), width)
    shift *= _window(shift.shape[:2], center - corner, radius)[..., None]
    if free is not None:
        shift *= free[top:bottom, left:right, None]
    return Movement(shift, corner)


def draw(photo: Picture, source: Points, target: Points, size: tuple[int, int], width: float) -> Picture:
    """Warp a photo so that the points `source` land on `target`.

    Args:
        photo: RGB, uint8, (H, W, 3), or a mask, (H, W); at about the scale of the canvas, else details alias.
        source, target: (N, 2), in pixels of the photo and of the canvas.
        size: height and width of the canvas.
        width: the face's width on the canvas, in pixels.

    Returns:
        The canvas, of the photo's type.
    """
    align = _fit_affine(target, source)
    rough = np.hstack([target, np.ones((len(target), 1))]) @ align.T
    field = interpolate_displacement(target, source - rough, size, width)
    x, y = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
    fetch_x = (align[0, 0] * x + align[0, 1] * y + align[0, 2]).astype(np.float32) + field[..., 0]
    fetch_y = (align[1, 0] * x + align[1, 1] * y + align[1, 2]).astype(np.float32) + field[..., 1]
    # beyond the photo its mirror image is better than a black edge, but a mirrored beard or frame is none
    border = cv2.BORDER_CONSTANT if photo.ndim == 2 else cv2.BORDER_REFLECT_101
    drawn: Picture = cv2.remap(photo, fetch_x, fetch_y, cv2.INTER_CUBIC, borderMode=border)
    return drawn


def interpolate_displacement(anchors: Points, shifts: Points, size: tuple[int, int], width: float) -> Displacement:
    """Interpolate shifts by a thin-plate spline to every pixel of a canvas.

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
    coarse = spline.evaluate(x / width, y / width).astype(np.float32)
    field: Displacement = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return field


def sample(image: Picture, field: Displacement, corner: NDArray[np.int64]) -> Picture:
    """Return the patch at `corner`, (x, y), of the picture, each pixel sampled from where the displacement says."""
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
    still = np.maximum(np.abs(field[..., 0]), np.abs(field[..., 1])) < 1e-3
    unchanged = np.ascontiguousarray(image[corner[1] : corner[1] + height, corner[0] : corner[0] + width])
    cv2.copyTo(unchanged, still.view(np.uint8), fetched)
    return fetched


def _fit_affine(source: Points, target: Points) -> NDArray[np.float64]:
    """Return the least-squares affine map from `source` to `target`, (2, 3); the spline then only adds the residual.

    cv2.estimateAffine2D would drop points as outliers.
    """
    solution = np.linalg.lstsq(np.hstack([source, np.ones((len(source), 1))]), target, rcond=None)[0]
    return np.asarray(solution.T)


def _window(shape: tuple[int, ...], center: Points, radius: float) -> NDArray[np.float32]:
    """Return a window that is 1 in the middle and falls smoothly over the last third to exactly 0 at the radius."""
    y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(center[1])
    x = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(center[0])
    t = np.clip((1 - np.hypot(x, y) / np.float32(radius)) * 3, 0, 1)
    window: NDArray[np.float32] = t * t * (3 - 2 * t)
    return window
