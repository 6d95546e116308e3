"""Trace the best line through a picture, one step per row, by dynamic programming."""

import numpy as np
from numpy.typing import NDArray

from functions.generate.face.light import Lightness

Steps = NDArray[np.intp]
"""(rows,): the column of a line in each row."""
TURN = 0.02  # cost of moving one column aside, in the largest gain of a row; two columns cost more than twice as much
BARRED = 1e3  # cost of a column that is not allowed; more than any line gains
HALF = 0.5  # share of a line's depth at which its edge is
LEAST_RISE = 0.25  # least rise on one side of a line, in rises of the other side; with less, it has no edge there


def trace_line(gain: Lightness, allowed: NDArray[np.bool_], reach: int, closed: bool = False) -> Steps:
    """Return the line through all rows with the largest total gain.

    Args:
        gain: how much each pixel looks like part of the line, about 0 to 1, (rows, columns).
        allowed: where the line may be, (rows, columns).
        reach: most columns that the line may move from one row to the next.
        closed: whether the first row follows the last, as for a closed curve in polar coordinates.
    """
    rows = len(gain)
    cost = np.where(allowed, -gain, BARRED)
    if closed:  # three rounds: the middle one is not affected by the ends
        cost = np.concatenate([cost] * 3)
    asides = np.arange(-reach, reach + 1)
    turning = (TURN * np.abs(asides) ** 1.5)[:, None]
    total, came = cost[0], np.zeros(cost.shape, np.intp)
    for row in range(1, len(cost)):
        reached = np.pad(total, reach, constant_values=BARRED * len(cost))
        options = np.lib.stride_tricks.sliding_window_view(reached, len(asides)).T + turning
        best = options.argmin(axis=0)
        came[row] = asides[best]
        total = options[best, np.arange(cost.shape[1])] + cost[row]
    steps = np.empty(len(cost), np.intp)
    steps[-1] = total.argmin()
    for row in range(len(cost) - 1, 0, -1):
        steps[row - 1] = steps[row] + came[row][steps[row]]
    return steps[rows : 2 * rows] if closed else steps


def measure_edges(lightness: Lightness, steps: Steps, thickest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far the line reaches to the left and to the right of its steps, in columns, (rows,) each.

    Its edge is where HALF of its depth is left. Each side is at most `thickest`, and NaN if there is no edge within
    that, such as beside hair.
    """
    rows = np.arange(len(steps))
    columns = np.clip(steps[:, None] + np.arange(-thickest, thickest + 1), 0, lightness.shape[1] - 1)
    around = lightness[rows[:, None], columns]
    darkest = around[:, thickest - 1 : thickest + 2].min(axis=1)
    sides = around[:, thickest::-1], around[:, thickest:]
    rises = [side.max(axis=1) - darkest for side in sides]
    reaches = []
    for side, rise in zip(sides, rises, strict=True):
        out = side > (darkest + HALF * np.minimum(*rises))[:, None]
        ends = out.any(axis=1) & (rise > LEAST_RISE * np.maximum(*rises))
        reaches.append(np.where(ends, out.argmax(axis=1), np.nan))
    return reaches[0], reaches[1]
