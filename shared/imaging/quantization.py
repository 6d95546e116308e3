"""Numbers as colors: the one place where a picture's floats become bytes, and what is no number is no black pixel."""

import numpy as np
from numpy.typing import NDArray

from shared.errors import PictureFailed
from shared.imaging.array_types import Image

ADVICE = "train again if it is one user's portraits only, else look at the worker's models and their precision"


def require_finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The values as they are; PictureFailed where one is no number."""
    if not np.isfinite(values).all():
        raise PictureFailed(f"a step of the picture made values that are no numbers: {ADVICE}")
    return values


def round_to_levels(values: NDArray[np.floating]) -> Image:
    """8-bit levels out of floats of the same units, of any shape, those beyond 0 to 255 cut off.

    Raises PictureFailed where one is no number.
    """
    levels: Image = np.clip(np.rint(require_finite(values)), 0, 255).astype(np.uint8)
    return levels
