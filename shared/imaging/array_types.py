"""The array types that pictures travel in."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, uint8, (H, W, 3)."""

Mask = NDArray[np.float32]
"""float32 in [0, 1], (H, W)."""

Points = NDArray[np.float64]
"""(N, 2) positions x, y in pixels."""

Embedding = NDArray[np.float64]
"""A face as a vector; what a distance means is up to the engine that made it."""
