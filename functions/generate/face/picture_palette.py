"""The palette of a whole picture; keeps the repainted background of a faded or toned picture in its colors."""

from collections.abc import Sequence

import cv2
import numpy as np

from functions.generate.face import light
from functions.generate.face.crop import FaceCrop
from functions.generate.face.palette import FACE_SIDE, Palette
from shared.faces import Face
from shared.imaging.array_types import Image

PICTURE_SIDE = 512  # longer side, in pixels, at which a whole picture is measured


def limiting_palette(image: Image, faces: Sequence[Face]) -> Palette | None:
    """Return the palette of the whole picture if none of its faces has ordinary colors; else None.

    The faces decide, because a gray wall behind a person in color must not keep color out of the background.
    """
    if max((FaceCrop.of(image, face.landmarks).palette.natural for face in faces), default=1.0) >= 1:
        return None
    factor = min(1.0, PICTURE_SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = light.to_lab(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return Palette.of(small, np.ones(small.shape[:2], np.float32), FACE_SIDE)
