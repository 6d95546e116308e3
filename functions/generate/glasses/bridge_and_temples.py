"""Trace the straight parts of glasses: the bridge across the root of the nose, and the temples out to the ears."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES, JAW
from functions.generate.face.light import Lightness
from functions.generate.glasses import min_cost_path
from functions.generate.glasses.aligned_face import SIDE, WIDTH, AlignedFace, sample
from functions.generate.glasses.rims import CLEAR
from functions.generate.glasses.thick_lines import THICKEST, Stroke, measure_stroke
from shared.imaging.array_types import Points

Along = NDArray[np.float64]
"""(N,): positions in the upright square."""

# lengths in pixels are those of the upright square, in which a face is WIDTH pixels wide
# largest thickness and least depth of a bridge; two of 639 portraits without glasses reach it, and
# two more have a faint bridge with temples; of 175 with glasses 169 are found (benchmarks/glasses.py)
BRIDGES = ((13, 8.0), (17, 12.5))
FAINTEST, WITH_TEMPLES = 5.0, 10.0  # least depth of a faint bridge, and least sum with the depth of its temples
TEMPLE, SKIPPED = (0.13, 0.08), 0.03  # face widths above and below the eyes, and at both ends, where a temple may be
VISIBLE = 0.4  # width of a temple relative to the other's, from which it is visible
COLOR = 0.5  # lightness that one unit of chroma less than the skin's counts for
UNBROKEN = (0.3, 0.5)  # quantiles of the columns' depths; their mean must reach the least depth
FAR_OVER_GRAIN = 6.0  # the same for a faint bridge, so that no wrinkle is taken for one
OVER_GRAIN = 2.0  # times as deep as on bare skin; 9 to 50 with glasses, 3 in noise of 8 levels, without 1.9 at most
FOREHEAD = 0.25  # face widths from the root of the nose up to the middle of the forehead
ROOM = 0.15  # share of the distance between the eyes' inner corners that is left out on each side
HIGH = 0.06  # face widths above the root of the nose where a bridge may be
SLOPE = 2  # samples that a bar may rise or fall from one column to the next
STEP = 0.5  # pixels between samples across a bar
BROADEST = 30  # largest thickness of a bridge in pixels
GAP = 7  # pixels of a temple that a highlight may hide
ABOVE, BEYOND = 0.02, 0.02  # face widths above the rim where a temple may begin, and beyond the jaw where it may end
HINGE = 0.6  # share of the rim's height, from its top, within which the hinge is
FULL = 80.0  # depth, in lightness, at which a line has the full gain of 1


def has_bridge(face: AlignedFace) -> bool:
    """Return whether there is a bridge: an unbroken dark line of little chroma across the root of the nose.

    In a noisy or dithered picture, and on wrinkled skin, there are such lines everywhere: on the bare skin the line
    must be less deep. A bridge of thin wire is faint, and so is one of some color if chroma is taken relative to
    lightness, as colored light asks for; but then temples go on from the eyes to the ears.
    """
    for most, least in BRIDGES:
        depth, grain = (
            _measure_depth(find_bridge_root(face, most, colored_light=True).depths),
            _measure_grain(face, most),
        )
        if depth >= least and depth >= OVER_GRAIN * grain:
            return True
        plain = _measure_depth(find_bridge_root(face, most).depths)
        clear = depth >= FAR_OVER_GRAIN * grain or plain >= max(least, OVER_GRAIN * grain)
        if depth >= FAINTEST and clear and depth + _measure_temples(face, most) >= WITH_TEMPLES:
            return True
    return False


def _measure_temples(face: AlignedFace, thickest: int) -> float:
    """Return how much of a line goes from the eyes to the ears, in lightness: on both sides, the less.

    Of a turned face only the side that is visible counts.
    """
    p, lines = face.points, face.lines(thickest, COLOR, colored_light=True)
    middle = float(np.mean([p[eye, 1].mean() for eye in EYES]))
    rows = _pixels_between(middle - TEMPLE[0] * WIDTH, middle + TEMPLE[1] * WIDTH)
    ends = (p[0, 0], p[36, 0]), (p[45, 0], p[16, 0])
    widest = max(end - begin for begin, end in ends)
    found = []
    for begin, end in ends:
        if end - begin > VISIBLE * widest:
            _, depths = _trace_darkest(lines, _pixels_between(begin + SKIPPED * WIDTH, end - SKIPPED * WIDTH), rows)
            found.append(_measure_depth(depths) if len(depths) else 0.0)
    return min(found, default=0.0)


@dataclass(frozen=True, eq=False)
class BridgeRoot:
    """The line across the root of the nose that looks most like a bridge.

    Attributes:
        depths: in each column, how much it looks like a frame, in lightness, (N,).
        colors: its LAB color in each column, (N, 3).
    """

    depths: Along
    colors: NDArray[np.float32]

    @property
    def depth(self) -> float:
        """The median of how much it looks like a frame, in lightness."""
        return float(np.median(self.depths))

    @property
    def color(self) -> NDArray[np.float32]:
        """The median LAB color of its clearer half, (3,)."""
        clear = self.depths >= np.median(self.depths)
        return np.median(self.colors[clear], axis=0)


def find_bridge_root(face: AlignedFace, thickest: int = THICKEST, colored_light: bool = False) -> BridgeRoot:
    """Trace the line across the root of the nose that looks most like a bridge; it need not be one.

    Args:
        face: the upright face.
        thickest: largest thickness of the line, in pixels of the upright square.
        colored_light: see `AlignedFace.lines`.
    """
    left, top, right, bottom = _bound_bridge(face)
    columns, rows = _pixels_between(left, right), _pixels_between(top, bottom)
    steps, depths = _trace_darkest(face.lines(thickest, COLOR, colored_light), columns, rows)
    if not len(steps):
        return BridgeRoot(np.zeros(1), np.zeros((1, 3), np.float32))
    return BridgeRoot(depths, face.lab[rows[steps], columns])


def _bound_bridge(face: AlignedFace) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of the root of the nose, where a bridge may be."""
    p = face.points
    room = ROOM * (p[42, 0] - p[39, 0])
    return p[39, 0] + room, p[27, 1] - HIGH * WIDTH, p[42, 0] - room, p[29, 1]


def _measure_grain(face: AlignedFace, thickest: int) -> float:
    """Return how deep a line is that is found where no frame can be: on both cheeks and the forehead, the least."""
    p = face.points
    left, top, right, bottom = _bound_bridge(face)
    half = np.array([right - left, bottom - top]) / 2
    lines, depths = face.lines(thickest, COLOR, colored_light=True), []
    for center in ((p[2] + p[48]) / 2, (p[14] + p[54]) / 2, p[27] - [0, FOREHEAD * WIDTH]):
        (x, y), (beyond, below) = center - half, center + half
        _, found = _trace_darkest(lines, _pixels_between(x, beyond), _pixels_between(y, below))
        depths.append(_measure_depth(found) if len(found) else 0.0)
    return min(depths)


def _measure_depth(depths: Along) -> float:
    """Return how much of a line there is in all columns, in lightness."""
    return float(np.quantile(depths, UNBROKEN).mean())


def _trace_darkest(
    lines: Lightness, columns: NDArray[np.intp], rows: NDArray[np.intp]
) -> tuple[min_cost_path.Steps, Along]:
    """Trace the line across these pixels that looks most like a frame; none if there are too few pixels.

    Returns:
        The line's place among the rows and its depth in lightness, in each column.
    """
    if len(columns) < 3 or len(rows) < 3:
        return np.zeros(0, np.intp), np.zeros(0)
    within = lines[rows][:, columns].T
    steps = min_cost_path.trace_line(np.minimum(within / FULL, 1), np.ones(within.shape, bool), 2)
    return steps, within[np.arange(len(columns)), steps].astype(np.float64)


def trace_bridge(face: AlignedFace, rims: list[Points], found: Lightness, alike: Lightness) -> Stroke:
    """Trace the bridge between the rims; it is as thick as its color reaches up and down.

    Args:
        face: the upright face.
        rims: the middle lines of the left and the right rim, (N, 2) each.
        found: how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).
        alike: how much each pixel has the color of the bridge, 0 to 1, (SIDE, SIDE).
    """
    p = face.points
    columns = np.arange(rims[0][:, 0].max(), rims[1][:, 0].min() + 1)
    rows = np.arange(p[27, 1] - HIGH * WIDTH - BROADEST / 2, p[29, 1], STEP)
    points, steps = _trace_bar(columns, rows, found, round(BROADEST / 2 / STEP))
    return measure_stroke(points, 1 - sample(alike, points), steps, np.ones(len(points), bool), thickest=BROADEST)


def trace_temple(face: AlignedFace, rim: Points, side: int, found: Lightness) -> Stroke:
    """Trace a temple from the rim outwards to the jaw line, as far as it is unbroken.

    Args:
        face: the upright face.
        rim: the middle line of the rim on that side, (N, 2).
        side: 0 for the left, 1 for the right.
        found: how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).
    """
    outer, jaw = rim[:, 0], face.points[JAW, 0]
    if side == 0:
        columns = np.arange(outer.min(), jaw.min() - BEYOND * WIDTH, -1)
    else:
        columns = np.arange(outer.max(), jaw.max() + BEYOND * WIDTH)
    top, bottom = rim[:, 1].min(), rim[:, 1].max()
    rows = np.arange(top - ABOVE * WIDTH, top + HINGE * (bottom - top), STEP)
    points, steps = _trace_bar(columns, rows, found)
    clear = (sample(found, points)[np.arange(len(points)), steps] > CLEAR).astype(np.uint8)
    clear = cv2.morphologyEx(clear[None], cv2.MORPH_CLOSE, np.ones((1, GAP), np.uint8))[0]
    return measure_stroke(points, sample(face.lightness, points), steps, np.cumprod(clear) > 0)


def _trace_bar(columns: Along, rows: Along, found: Lightness, spared: int = 0) -> tuple[Points, min_cost_path.Steps]:
    """Trace a line through all columns.

    Args:
        columns, rows: positions of the samples in the upright square.
        found: how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).
        spared: number of topmost rows that the line must not enter.

    Returns:
        The samples' points, (columns, rows, 2), and the row of the line in each column.
    """
    columns = columns if len(columns) else np.zeros(1)
    points = np.stack(np.broadcast_arrays(columns[:, None], rows[None]), axis=-1)
    gains = sample(found, points)
    return points, min_cost_path.trace_line(gains, np.broadcast_to(np.arange(len(rows)) >= spared, gains.shape), SLOPE)


def _pixels_between(start: float, stop: float) -> NDArray[np.intp]:
    """Return the whole pixels from start to stop that lie in the upright square."""
    return np.arange(max(int(start), 0), min(int(stop) + 1, SIDE))
