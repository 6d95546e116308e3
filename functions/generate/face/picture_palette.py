"""The palette of a whole picture: what keeps a repainted background in the colors of faded and toned pictures."""

from collections.abc import Sequence

import cv2
import numpy as np

from functions.generate.face import light
from functions.generate.face.crop import FaceCrop
from functions.generate.face.palette import FACE_SIDE, Palette
from shared.faces import Face
from shared.imaging.array_types import Image

PICTURE_SIDE = 512  # pixels of a whole picture that are looked at


def limiting_palette(image: Image, faces: Sequence[Face]) -> Palette | None:
    """The palette of a whole picture that is not one of ordinary colors, by its faces; else None.

    A gray wall behind somebody in color is no reason to let no color in.
    """
    if max((FaceCrop.of(image, face.landmarks).palette.natural for face in faces), default=1.0) >= 1:
        return None
    factor = min(1.0, PICTURE_SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = light.to_lab(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return Palette.of(small, np.ones(small.shape[:2], np.float32), FACE_SIDE)
