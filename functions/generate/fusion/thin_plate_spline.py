"""Thin-plate splines of two coordinates, evaluated on a grid.

SciPy's `RBFInterpolator` gives the same to a billionth of a pixel. But on a grid it takes twice as long, and SciPy
would be 140 MB of an image for this alone.
"""

import numpy as np
from numpy.typing import NDArray

from shared.imaging.array_types import Points

LEAST_SQUARE = 1e-300  # of a distance: keeps the logarithm finite at the anchors, where the kernel is 0


class ThinPlateSpline:
    """The smoothest function that is near to given values, after Wahba (1990), Spline Models for Observational Data.

    Args:
        anchors: (N, 2), not all on one line.
        values: at each of them, (N, K).
        smoothing: 0 passes through all values; larger ones bend less, and miss them.
    """

    def __init__(self, anchors: Points, values: Points, smoothing: float) -> None:
        count = len(anchors)
        self._anchors, self._origin = anchors, anchors.mean(axis=0)
        squares = ((anchors[:, None] - anchors) ** 2).sum(axis=-1)
        plane = np.hstack([np.ones((count, 1)), anchors - self._origin])
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = squares * np.log(np.maximum(squares, LEAST_SQUARE)) / 2  # r^2 log r
        system[:count, :count] += smoothing * np.eye(count)
        system[:count, count:], system[count:, :count] = plane, plane.T
        solved = np.linalg.solve(system, np.vstack([values, np.zeros((3, values.shape[1]))]))
        self._weights, self._plane = solved[:count] / 2, solved[count:]

    def evaluate(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values on the grid of these columns and rows, (len(y), len(x), K)."""
        across, down = ((axis[:, None] - self._anchors[:, side]) ** 2 for side, axis in enumerate((x, y)))
        found = np.empty((len(y), len(x), self._weights.shape[1]))
        flat = np.stack(np.meshgrid(x, y), axis=-1) - self._origin
        for row, above in enumerate(down):  # one row of distances stays in the processor's cache
            squares = np.maximum(across + above, LEAST_SQUARE)
            kernel = np.log(squares)
            kernel *= squares
            found[row] = kernel @ self._weights
        found += self._plane[0] + flat @ self._plane[1:]
        return found
