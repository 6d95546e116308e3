"""Where a face's own hair hangs: on the forehead, and beside the eyes near the outline."""

import numpy as np

from functions.generate.face import masks
from functions.generate.face.landmarks import BROWS, NOSE_BRIDGE, face_width
from shared.imaging.array_types import Mask, Points

FOREHEAD = (0.0, 0.05)  # face widths above the middle of the brows, over which the forehead begins
TEMPLES = (-0.5, -0.4)  # the same for the temples, which end at the height of the upper lip
RIM = 0.08  # face widths inside the outline that belong to the temples
AROUND_BROWS = 0.02  # face widths around brows that belong to them


def hanging(points: Points, size: tuple[int, int]) -> Mask:
    """Return the mask, (H, W), of where hair hangs, with soft borders; brows belong to the face.

    Args:
        points: the face's landmarks, (68, 2), in pixels of the canvas.
        size: height and width of the canvas.
    """
    brows = points[BROWS].mean(axis=0)
    up = brows - points[NOSE_BRIDGE].mean(axis=0)
    up = up / np.linalg.norm(up) / face_width(points)
    x, y = np.arange(size[1], dtype=np.float32) - brows[0], np.arange(size[0], dtype=np.float32) - brows[1]
    height = (x * np.float32(up[0]))[None] + (y * np.float32(up[1]))[:, None]
    forehead, temples = (np.clip((height - low) / (high - low), 0, 1) for low, high in (FOREHEAD, TEMPLES))
    rim = temples * (1 - masks.face(points, size, RIM, RIM / 4))
    hangs: Mask = (np.maximum(forehead, rim) * (1 - masks.brows(points, size, AROUND_BROWS, AROUND_BROWS / 2))).astype(
        np.float32
    )
    return hangs
