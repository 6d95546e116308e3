"""The darkest line through a picture that is laid out in rows: one step to each row, by dynamic programming."""

import numpy as np
from numpy.typing import NDArray

from functions.generate.face.light import Lightness

Steps = NDArray[np.intp]
"""(rows,): in which column a line is, row by row."""
TURN = 0.02  # of a row's gain that a step aside costs; diagonal steps cost more than twice of it
BARRED = 1e3  # cost of a column that is not allowed; more than any line gains
HALF = 0.5  # of a line's depth, at which it ends
LEAST_RISE = 0.25  # of the rise on its one side that a line has on the other, or it does not end there


def trace_line(gain: Lightness, allowed: NDArray[np.bool_], reach: int, closed: bool = False) -> Steps:
    """The line through all rows that gains the most, at most `reach` columns aside from one row to the next.

    Args:
        gain: (rows, columns), about 0 to 1: how much each pixel looks like part of the line.
        allowed: (rows, columns), where it may be.
        reach: columns.
        closed: the last row is followed by the first: a closed curve in polar coordinates.
    """
    rows = len(gain)
    cost = np.where(allowed, -gain, BARRED)
    if closed:  # three turns: the middle one knows of neither beginning nor end
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
    """How far the line reaches to the left and to the right of its steps, in columns: half its depth down.

    Each side is at most `thickest`; NaN where it does not end within that, such as beside hair.
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
