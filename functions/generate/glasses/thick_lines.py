"""Strokes: dark lines of bounded thickness, measured along a path and drawn as polygons at any size."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.light import Lightness
from functions.generate.glasses import min_cost_path
from functions.generate.glasses.aligned_face import AlignedFace
from shared.imaging.array_types import Mask, Points

# lengths in pixels are those of the upright square, in which a face is `aligned_face.WIDTH` pixels wide
THICKEST = 17  # largest thickness of a frame, in pixels
MARGIN = 0.75  # pixels added on each side of a stroke for its soft edge
USUAL = 1.5  # largest thickness on a side, in medians of that side
EVEN = 7  # steps over which the thickness is smoothed
FRACTION = 4  # fractional bits of coordinates while drawing
SOFTNESS = 0.7  # sigma in pixels


@dataclass(frozen=True, eq=False)
class Stroke:
    """A thick line.

    Attributes:
        one, other: its two edges, (N, 2) each, in the upright square.
        present: where along it the line is visible, (N,).
        closed: whether its end joins its beginning.
    """

    one: Points
    other: Points
    present: NDArray[np.bool_]
    closed: bool = False

    @property
    def middle(self) -> Points:
        """The points halfway between its edges, (N, 2)."""
        middle: Points = (self.one + self.other) / 2
        return middle

    def pieces(self) -> Iterator[list[Points]]:
        """Yield the outlines of each unbroken piece; a complete closed stroke is one piece with two outlines."""
        if self.closed and self.present.all():
            yield [self.one, self.other]
            return
        count = len(self.present)
        first = int((~self.present).argmax()) if self.closed else 0
        order = (np.arange(count) + first) % count
        borders = np.flatnonzero(np.diff(np.concatenate([[False], self.present[order], [False]]).astype(np.int8)))
        for start, stop in zip(borders[::2], borders[1::2], strict=True):
            piece = order[start:stop]
            if len(piece) > 1:
                yield [np.concatenate([self.one[piece], self.other[piece[::-1]]])]


def measure_stroke(
    points: Points,
    lightness: Lightness,
    steps: min_cost_path.Steps,
    present: NDArray[np.bool_],
    closed: bool = False,
    thickest: float = THICKEST,
) -> Stroke:
    """Measure the stroke along a traced line.

    Args:
        points: where the samples lie in the upright square, (rows, columns, 2).
        lightness: of the samples, (rows, columns).
        steps: the column of the line in each row, (rows,).
        present: whether the line is drawn in each row, (rows,).
        closed: whether the first row follows the last.
        thickest: largest reach to each side, in pixels of the upright square.
    """
    rows = np.arange(len(steps))
    spacing = float(np.linalg.norm(points[0, 1] - points[0, 0]))
    reaches = min_cost_path.measure_edges(lightness, steps, round(thickest / spacing))
    sides = []
    for reach, sign in zip(reaches, (-1, 1), strict=True):
        even = _smooth_thickness(reach, present, closed) + MARGIN / spacing
        away = points[:, 1] - points[:, 0]
        sides.append(points[rows, steps] + sign * even[:, None] * away)
    return Stroke(sides[0], sides[1], present, closed)


def draw_strokes(strokes: list[Stroke], face: AlignedFace, size: tuple[int, int]) -> Mask:
    """Draw the strokes as a soft mask of the picture, (H, W).

    Args:
        strokes: in the upright square.
        face: the upright face, which knows the way back to the picture.
        size: the picture's height and width.
    """
    canvas = np.zeros(size, np.uint8)
    for stroke in strokes:
        for piece in stroke.pieces():
            outlines = [np.round(face.back(line) * 2**FRACTION).astype(np.int32) for line in piece]
            layer = np.zeros(size, np.uint8)
            cv2.fillPoly(layer, outlines, 255, cv2.LINE_AA, FRACTION)
            canvas = np.maximum(canvas, layer)
    scale = float(np.linalg.norm(face.matrix[0, :2]))
    soft: Mask = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), max(SOFTNESS / scale, 0.4))
    return soft


def _smooth_thickness(reach: NDArray[np.float64], present: NDArray[np.bool_], closed: bool) -> NDArray[np.float64]:
    """Smooth the thickness on one side by a running median and mean.

    Before that, missing values are replaced by the median, and values far above the median are reduced.
    """
    seen = reach[present & np.isfinite(reach)]
    usual = float(np.median(seen)) if seen.size else 1.0
    bounded = np.where(np.isfinite(reach), np.minimum(reach, max(USUAL * usual, usual + 1)), usual)
    half = EVEN // 2
    padded = np.pad(bounded, half, mode="wrap" if closed else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, EVEN)
    middle = np.median(windows, axis=1)
    padded = np.pad(middle, half, mode="wrap" if closed else "edge")
    even: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(padded, EVEN).mean(axis=1)
    return even
