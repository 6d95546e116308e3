"""The 68 landmarks by dlib's regression trees, for faces of every tilt that the HOG detector knows.

The trees (Kazemi & Sullivan 2014) give a tilted face an upright one's landmarks, so the face is turned upright before.
How far is told by two witnesses: how much HOG likes the face at a tilt, and how little the landmarks change when the
box is moved a little. On the wrong tilt the trees do not come to rest: HOG alone takes 45 degrees for upright at times.
"""

import dlib
import numpy as np

from shared.faces.base import Box
from shared.faces.face_crop import crop_face
from shared.faces.rotation import measure_roll, turn_upright, wrap_angle
from shared.faces.settling import SettledFace, settle
from shared.imaging.array_types import Image, Points

FACE, SIDE = 200, 400  # pixels of the look; twice the recognizer's 100 px, so that rounding to pixels costs nothing
TILTS = (-45.0, 0.0, 45.0)  # rolls that are tried; landmarks of faces tilted further than 30 are wrong by up to 80
LYING = (-90.0, 90.0)  # tried only where HOG likes none of those: the CNN finds faces on their side at times
LIKED = 1.0  # HOG score from which a face is not lying
TILT_FACE, TILT_SIDE = 90, 200  # a face just larger than HOG's window, with its surroundings; 5 ms a tilt
FAINT = -1.0  # HOG score that anything face-like reaches
IN_DOUBT = 0.6  # HOG score below the best's from which a tilt is out of the question
SHIFTS = ((0.06, 0.0), (-0.06, 0.0), (0.0, 0.06), (0.0, -0.06))  # of the box, in its widths
LIKING = 0.03  # change of the landmarks, in box widths, that one point of HOG's score is worth
NEAR, ASTRAY = 22.5, 0.002  # degrees from the tilt that HOG likes, and the change that each beyond them is worth
RESTLESS = 0.03  # change in box widths from where no single look is to be trusted; steady faces have 0.005 to 0.02
# where dlib's boxes lie around the 68 points, median of 11 upright faces: of the points' mean beside the box's center,
# in box widths, and the box's width in root mean squares of the points' distances from their mean
BESIDE_X, BESIDE_Y, WIDTH = 0.0, 0.058, 2.86


class LandmarkTrees:
    """Finds landmarks with dlib's trees and tells tilts with its HOG detector; both are the engine's."""

    def __init__(self, predictor: dlib.shape_predictor, detector: dlib.fhog_object_detector) -> None:
        self._predictor = predictor
        self._detector = detector

    def landmarks(self, image: Image, box: Box) -> Points:
        """The 68 points of the face in the box, (68, 2) in pixels of the RGB picture."""
        view = crop_face(image, box, FACE, SIDE)
        place = view.box_inwards(box)
        tilts = self._tilts(image, box)
        found = {tilt: settle(self._look, view.image, place, tilt, _box_around, SHIFTS) for tilt in tilts}
        best = min(tilts, key=lambda tilt: _doubt(found[tilt], place.width, tilt, tilts[tilt]))
        if found[best].unrest <= RESTLESS * place.width:
            return view.outwards(found[best].points)
        # no point is to be trusted, and no box that follows from them: most faces are upright
        return view.outwards(settle(self._look, view.image, place, 0.0 if 0.0 in tilts else best, None, SHIFTS).points)

    def _look(self, image: Image, place: Box) -> Points:
        left, top, right, bottom = place.rounded()
        shape = self._predictor(image, dlib.rectangle(left, top, right - 1, bottom - 1))
        return np.array([(point.x, point.y) for point in shape.parts()], float)

    def _tilts(self, image: Image, box: Box) -> dict[float, float]:
        """The rolls that are in question, with how much HOG likes the face at each."""
        view = crop_face(image, box, TILT_FACE, TILT_SIDE).image
        likes = {tilt: self._likes(turn_upright(view, tilt)) for tilt in TILTS}
        if max(likes.values()) < LIKED:
            likes |= {tilt: self._likes(turn_upright(view, tilt)) for tilt in LYING}
        least = max(likes.values()) - IN_DOUBT
        return {tilt: liked for tilt, liked in likes.items() if liked >= least}

    def _likes(self, view: Image) -> float:
        """The best HOG score of a face in the middle of the view."""
        boxes, scores, _ = self._detector.run(view, 0, FAINT)
        centers = [(np.array([box.left() + box.right() + 1, box.top() + box.bottom() + 1])) / 2 for box in boxes]
        offsets = [np.abs(center - TILT_SIDE / 2).max() for center in centers]
        return max((score for score, off in zip(scores, offsets, strict=True) if off < TILT_FACE / 2), default=FAINT)


def _box_around(points: Points) -> Box:
    """Where dlib's boxes are around these points, by the median of many; the detector's own is true to a tenth."""
    center = points.mean(axis=0)
    side = WIDTH * float(np.sqrt(((points - center) ** 2).sum(axis=1).mean()))
    x, y = center - np.array([BESIDE_X, BESIDE_Y]) * side
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _doubt(found: SettledFace, width: float, tilt: float, liked: float) -> float:
    """How little a face at rest speaks for a tilt that HOG likes so much, in box widths; the box is so wide."""
    astray = max(abs(wrap_angle(measure_roll(found.points) - tilt)) - NEAR, 0)
    return found.unrest / width + ASTRAY * astray - LIKING * liked
