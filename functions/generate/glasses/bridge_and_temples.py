"""The straight parts of glasses: the bridge across the root of the nose, and the temples out to the ears."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import JAW
from functions.generate.face.light import Lightness
from functions.generate.glasses import min_cost_path
from functions.generate.glasses.aligned_face import SIDE, WIDTH, AlignedFace, sample
from functions.generate.glasses.rims import CLEAR
from functions.generate.glasses.thick_lines import THICKEST, Stroke, measure_stroke
from shared.imaging.array_types import Points

Along = NDArray[np.float64]
"""(N,): positions in the upright square."""

BRIDGES = (
    (13, 8.0),
    (17, 12.0),
)  # the most thickness and least depth; of 686 bare faces none has more than 7.5 and 10.7
COLOR = 0.5  # what a unit of chroma less than the skin's counts, in lightness
UNBROKEN = 0.25  # quantile of its columns that has to be that deep
ROOM = 0.15  # of the distance between the eyes' corners that is no bridge, on each side
HIGH = 0.06  # face widths above the root of the nose where a bridge may be
SLOPE = 2  # pixels that a bar may rise or fall from one column to the next
STEP = 0.5  # pixels of WIDTH between samples across a bar
BROADEST = 30  # pixels of WIDTH that a bridge may be thick
GAP = 7  # pixels of WIDTH that a highlight hides of a temple
ABOVE, BEYOND = 0.02, 0.02  # face widths that a temple may begin above the rim, and be followed out of the jaw
HINGE = 0.6  # of a rim's height from its top, above which the hinge is
FULL = 80.0  # lightness of a line that gains all


def has_bridge(face: AlignedFace) -> bool:
    """Whether there is a bridge: a dark line of little color, unbroken, across the root of the nose."""
    return any(float(np.quantile(find_bridge_root(face, most).depths, UNBROKEN)) >= least for most, least in BRIDGES)


@dataclass(frozen=True, eq=False)
class BridgeRoot:
    """The line across the root of the nose that looks most like a bridge."""

    depths: Along
    colors: NDArray[np.float32]

    @property
    def depth(self) -> float:
        """How much it looks like a frame, in lightness."""
        return float(np.median(self.depths))

    @property
    def color(self) -> NDArray[np.float32]:
        """LAB of its clearer half."""
        clear = self.depths >= np.median(self.depths)
        return np.median(self.colors[clear], axis=0)


def find_bridge_root(face: AlignedFace, thickest: int = THICKEST) -> BridgeRoot:
    """The bridge, if there is one; `thickest`: pixels of WIDTH that a line has at most."""
    p = face.points
    room = ROOM * (p[42, 0] - p[39, 0])
    columns = _within(p[39, 0] + room, p[42, 0] - room)
    rows = _within(p[27, 1] - HIGH * WIDTH, p[29, 1])
    if len(columns) < 3 or len(rows) < 3:
        return BridgeRoot(np.zeros(1), np.zeros((1, 3), np.float32))
    lines = face.lines(thickest, COLOR)[rows][:, columns].T
    steps = min_cost_path.trace_line(np.minimum(lines / FULL, 1), np.ones(lines.shape, bool), 2)
    return BridgeRoot(lines[np.arange(len(columns)), steps].astype(np.float64), face.lab[rows[steps], columns])


def trace_bridge(face: AlignedFace, rims: list[Points], found: Lightness, alike: Lightness) -> Stroke:
    """The bridge between two rims, (N, 2) each, and as far up and down of it as there is its color.

    `found`, `alike`: how much each pixel looks like part of a frame, and has the color of the bridge, 0 to 1.
    """
    p = face.points
    columns = np.arange(rims[0][:, 0].max(), rims[1][:, 0].min() + 1)
    rows = np.arange(p[27, 1] - HIGH * WIDTH - BROADEST / 2, p[29, 1], STEP)
    points, steps = _bar(columns, rows, found, round(BROADEST / 2 / STEP))
    return measure_stroke(points, 1 - sample(alike, points), steps, np.ones(len(points), bool), thickest=BROADEST)


def trace_temple(face: AlignedFace, rim: Points, side: int, found: Lightness) -> Stroke:
    """What is seen of a temple from the rim, (N, 2), on that `side` out to the jaw line: as far as it is unbroken."""
    outer, jaw = rim[:, 0], face.points[JAW, 0]
    if side == 0:
        columns = np.arange(outer.min(), jaw.min() - BEYOND * WIDTH, -1)
    else:
        columns = np.arange(outer.max(), jaw.max() + BEYOND * WIDTH)
    top, bottom = rim[:, 1].min(), rim[:, 1].max()
    rows = np.arange(top - ABOVE * WIDTH, top + HINGE * (bottom - top), STEP)
    points, steps = _bar(columns, rows, found)
    clear = (sample(found, points)[np.arange(len(points)), steps] > CLEAR).astype(np.uint8)
    clear = cv2.morphologyEx(clear[None], cv2.MORPH_CLOSE, np.ones((1, GAP), np.uint8))[0]
    return measure_stroke(points, sample(face.lightness, points), steps, np.cumprod(clear) > 0)


def _bar(columns: Along, rows: Along, found: Lightness, spared: int = 0) -> tuple[Points, min_cost_path.Steps]:
    """The points of those columns and rows, (columns, rows, 2), and in which row the line through all columns is.

    It runs below the `spared` topmost rows.
    """
    columns = columns if len(columns) else np.zeros(1)
    points = np.stack(np.broadcast_arrays(columns[:, None], rows[None]), axis=-1)
    gains = sample(found, points)
    return points, min_cost_path.trace_line(gains, np.broadcast_to(np.arange(len(rows)) >= spared, gains.shape), SLOPE)


def _within(start: float, stop: float) -> NDArray[np.intp]:
    """Whole pixels of the upright square from start to stop."""
    return np.arange(max(int(start), 0), min(int(stop) + 1, SIDE))
