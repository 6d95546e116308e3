"""The 68 landmarks by dlib's regression trees, for faces of every tilt that the HOG detector knows.

The trees (Kazemi & Sullivan 2014) give a tilted face the landmarks of an upright one, so the face is rotated upright
first. Its tilt is chosen by two measures: the HOG score at a tilt, and how little the landmarks change when the box is
moved a little. HOG alone sometimes takes 45 degrees for upright, but at a wrong tilt the landmarks do not settle.
"""

import dlib
import numpy as np

from shared.faces.base import Box
from shared.faces.face_crop import crop_face
from shared.faces.rotation import measure_roll, turn_upright, wrap_angle
from shared.faces.settling import SettledFace, settle
from shared.imaging.array_types import Image, Points

FACE, SIDE = 200, 400  # pixels of the crop; twice the recognizer's 100 px, so that rounding to pixels does no harm
TILTS = (-45.0, 0.0, 45.0)  # degrees; rolls that are tried, as landmarks of faces tilted by more than 30 are wrong
LYING = (-90.0, 90.0)  # tried if HOG scores none of those: the CNN sometimes finds faces on their side
LIKED = 1.0  # HOG score from which a face is not on its side
TILT_FACE, TILT_SIDE = 90, 200  # pixels: a face just larger than HOG's window, with its surroundings; 5 ms a tilt
FAINT = -1.0  # HOG score that anything like a face reaches
IN_DOUBT = 0.6  # HOG score: a tilt with this much less than the best is ruled out
SHIFTS = ((0.06, 0.0), (-0.06, 0.0), (0.0, 0.06), (0.0, -0.06))  # of the box, in its widths
LIKING = 0.03  # box widths of change of the landmarks that equal one point of HOG's score
NEAR, ASTRAY = 22.5, 0.002  # degrees of difference to HOG's tilt that cost nothing, and the cost of each further one
RESTLESS = 0.03  # change in box widths from which no tilt is trusted; well-found faces have 0.005 to 0.02
# dlib's box by the 68 points, median of 11 upright faces: offset of the points' mean from the box's center, in box
# widths, and the box's width in root mean squares of the points' distances from their mean
BESIDE_X, BESIDE_Y, WIDTH = 0.0, 0.058, 2.86


class LandmarkTrees:
    """Finds landmarks with dlib's regression trees, and tilts with its HOG detector."""

    def __init__(self, predictor: dlib.shape_predictor, detector: dlib.fhog_object_detector) -> None:
        self._predictor = predictor
        self._detector = detector

    def landmarks(self, image: Image, box: Box) -> Points:
        """Return the 68 points, (68, 2), of the face in the box, in pixels of the RGB picture."""
        view = crop_face(image, box, FACE, SIDE)
        place = view.box_inwards(box)
        tilts = self._tilts(image, box)
        found = {tilt: settle(self._look, view.image, place, tilt, _box_around, SHIFTS) for tilt in tilts}
        best = min(tilts, key=lambda tilt: _doubt(found[tilt], place.width, tilt, tilts[tilt]))
        if found[best].unrest <= RESTLESS * place.width:
            return view.outwards(found[best].points)
        # neither the points nor a box made from them can be trusted; most faces are upright
        return view.outwards(settle(self._look, view.image, place, 0.0 if 0.0 in tilts else best, None, SHIFTS).points)

    def _look(self, image: Image, place: Box) -> Points:
        left, top, right, bottom = place.rounded()
        shape = self._predictor(image, dlib.rectangle(left, top, right - 1, bottom - 1))
        return np.array([(point.x, point.y) for point in shape.parts()], float)

    def _tilts(self, image: Image, box: Box) -> dict[float, float]:
        """Return the possible rolls with the HOG score of each."""
        view = crop_face(image, box, TILT_FACE, TILT_SIDE).image
        likes = {tilt: self._likes(turn_upright(view, tilt)) for tilt in TILTS}
        if max(likes.values()) < LIKED:
            likes |= {tilt: self._likes(turn_upright(view, tilt)) for tilt in LYING}
        least = max(likes.values()) - IN_DOUBT
        return {tilt: liked for tilt, liked in likes.items() if liked >= least}

    def _likes(self, view: Image) -> float:
        """Return the best HOG score of a face in the middle of the view."""
        boxes, scores, _ = self._detector.run(view, 0, FAINT)
        centers = [(np.array([box.left() + box.right() + 1, box.top() + box.bottom() + 1])) / 2 for box in boxes]
        offsets = [np.abs(center - TILT_SIDE / 2).max() for center in centers]
        return max((score for score, off in zip(scores, offsets, strict=True) if off < TILT_FACE / 2), default=FAINT)


def _box_around(points: Points) -> Box:
    """Return dlib's usual box around these points; the detector's own has an error of a tenth."""
    center = points.mean(axis=0)
    side = WIDTH * float(np.sqrt(((points - center) ** 2).sum(axis=1).mean()))
    x, y = center - np.array([BESIDE_X, BESIDE_Y]) * side
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _doubt(found: SettledFace, width: float, tilt: float, liked: float) -> float:
    """Return the cost of a tilt, in box widths, by unrest, by the landmarks' own roll and by the HOG score `liked`."""
    astray = max(abs(wrap_angle(measure_roll(found.points) - tilt)) - NEAR, 0)
    return found.unrest / width + ASTRAY * astray - LIKING * liked
