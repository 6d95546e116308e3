"""The only place where a picture's floats become bytes; NaN and infinity raise and do not become black pixels."""

import numpy as np
from numpy.typing import NDArray

from shared.errors import PictureFailed
from shared.imaging.array_types import Image

ADVICE = "train again if only one user's portraits fail; otherwise check the worker's models and their precision"


def require_finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the values unchanged; PictureFailed if any of them is NaN or infinite."""
    if not np.isfinite(values).all():
        raise PictureFailed(f"the picture has values that are not finite numbers: {ADVICE}")
    return values


def round_to_levels(values: NDArray[np.floating]) -> Image:
    """Round floats of any shape, in levels of 0 to 255, to 8 bits; values outside that range are clipped.

    Raises:
        PictureFailed: a value is NaN or infinite.
    """
    levels: Image = np.clip(np.rint(require_finite(values)), 0, 255).astype(np.uint8)
    return levels
