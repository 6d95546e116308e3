"""Pictures that lie on a side or upside down: what to say of one that shows no face.

Photos lose their EXIF on the way, and no detector knows such faces: a hint saves its sender a question.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from shared.faces.base import Face, FaceEngine, FaceError
from shared.faces.rotation import measure_roll
from shared.imaging.array_types import Image

SEARCHED_SIDE = 240  # long side of a picture that is searched on its sides: faces from a sixth of it, 0.2 s a side
TURNS = {
    cv2.ROTATE_180: "upside down",
    cv2.ROTATE_90_CLOCKWISE: "clockwise",
    cv2.ROTATE_90_COUNTERCLOCKWISE: "counter-clockwise",
}
ASIDE = 50.0  # degrees of roll from which a face lies in the turned picture too: another turn is the right one
PLAINLY = 20.0  # degrees of roll up to which a face is upright beyond doubt: no further turn has to be tried
LYING = 60.0  # degrees of roll from which no head is meant to be; more than a head on a shoulder


def advise_turn(image: Image, engine: FaceEngine) -> str | None:
    """Advice for the sender of an RGB picture in which no face was found; None where no turn brings one up.

    A detector may find a face on its side, too: of the turns that show one, that of the best score is meant.
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
    """Advice where all faces that were found lie on their side; None where one does not, or there is none."""
    rolls = [measure_roll(face.landmarks) for face in faces]
    for sign, turn in ((-1, cv2.ROTATE_90_CLOCKWISE), (1, cv2.ROTATE_90_COUNTERCLOCKWISE)):
        if rolls and min(sign * one for one in rolls) > LYING:
            return f"the picture lies on its side: turn it {TURNS[turn]} and save it upright"
    return None


def _advice(turn: int) -> str:
    return f"there is one when the picture is turned {TURNS[turn]}: save it upright"


def _upright(image: Image, engine: FaceEngine) -> list[Face]:
    """The faces that are about upright; none where the engine fails."""
    try:
        return [face for face in engine.detect(image) if abs(measure_roll(face.landmarks)) <= ASIDE]
    except FaceError:
        return []
