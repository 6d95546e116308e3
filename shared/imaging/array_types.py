"""The array types of pictures, masks, points and face vectors."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, uint8, (H, W, 3)."""

Mask = NDArray[np.float32]
"""float32 in [0, 1], (H, W)."""

Points = NDArray[np.float64]
"""Positions x, y in pixels, float64, (N, 2)."""

Embedding = NDArray[np.float64]
"""A face vector; only the engine that made it knows what a distance between two of them means."""
