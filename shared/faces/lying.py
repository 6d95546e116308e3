"""Advice for pictures that lie on their side or are upside down.

Photos lose their EXIF orientation on the way, and detectors do not find such faces. The advice tells the sender why.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from shared.faces.base import Face, FaceEngine, FaceError
from shared.faces.rotation import measure_roll
from shared.imaging.array_types import Image

SEARCHED_SIDE = 240  # pixels, long side of the rotated search: faces from a sixth of it, 0.2 s for each rotation
TURNS = {
    cv2.ROTATE_180: "upside down",
    cv2.ROTATE_90_CLOCKWISE: "clockwise",
    cv2.ROTATE_90_COUNTERCLOCKWISE: "counter-clockwise",
}
ASIDE = 50.0  # degrees of roll from which a face lies on its side in the rotated picture too
PLAINLY = 20.0  # degrees of roll up to which a face is clearly upright, and no other rotation has to be tried
LYING = 60.0  # degrees of roll from which a face lies on its side; a head on a shoulder has less


def advise_turn(image: Image, engine: FaceEngine) -> str | None:
    """Return advice on an RGB picture in which no face was found; None if no rotation shows one.

    A detector may also find a face that is on its side, so the rotation with the best score is meant.
    """
    factor = min(SEARCHED_SIDE / max(image.shape[:2]), 1.0)
    size = max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    best: dict[int, float] = {}
    for turn in TURNS:
        faces = _upright(np.ascontiguousarray(cv2.rotate(small, turn)), engine)
        if any(abs(measure_roll(face.landmarks)) <= PLAINLY for face in faces):
            return _advice(turn)
        if faces:
            best[turn] = max(face.score for face in faces)
    return _advice(max(best, key=lambda turn: best[turn])) if best else None


def name_lying_faces(faces: Sequence[Face]) -> str | None:
    """Return advice if all faces lie on the same side; None if one does not, or there is none."""
    rolls = [measure_roll(face.landmarks) for face in faces]
    for sign, turn in ((-1, cv2.ROTATE_90_CLOCKWISE), (1, cv2.ROTATE_90_COUNTERCLOCKWISE)):
        if rolls and min(sign * one for one in rolls) > LYING:
            return f"the picture lies on its side: turn it {TURNS[turn]} and save it upright"
    return None


def _advice(turn: int) -> str:
    return f"there is one when the picture is turned {TURNS[turn]}: save it upright"


def _upright(image: Image, engine: FaceEngine) -> list[Face]:
    """Return the faces that are about upright; none if the engine fails."""
    try:
        return [face for face in engine.detect(image) if abs(measure_roll(face.landmarks)) <= ASIDE]
    except FaceError:
        return []
