"""The 68 landmarks by dlib's regression trees, for faces of every tilt that the HOG detector knows.

The trees (Kazemi & Sullivan 2014) give a tilted face an upright one's landmarks, so the face is turned upright before.
How far is told by two witnesses: how much HOG likes the face at a tilt, and how little the landmarks change when the
box is moved a little. On the wrong tilt the trees do not come to rest: HOG alone takes 45 degrees for upright at times.
"""

import dlib
import numpy as np

from shared.faces.base import Box
from shared.faces.closeup import Closeup, closeup
from shared.faces.tilt import roll, tilted_back, upright
from shared.images import Image, Points

FACE, SIDE = 200, 400  # pixels of the look; twice the recogniser's 100 px, so that rounding to pixels costs nothing
TILTS = (-45.0, 0.0, 45.0)  # rolls that are tried; landmarks of faces tilted further than 30 are wrong by up to 80
TILT_FACE, TILT_SIDE = 90, 200  # a face just larger than HOG's window, with its surroundings; 5 ms a tilt
FAINT = -1.0  # HOG score that anything face-like reaches
IN_DOUBT = 0.6  # HOG score below the best's from which a tilt is out of the question
SHIFTS = ((0.06, 0.0), (-0.06, 0.0), (0.0, 0.06), (0.0, -0.06))  # of the box, in its widths
LIKING = 0.03  # change of the landmarks, in box widths, that one point of HOG's score is worth
UPRIGHT = 10.0  # degrees; a face found more tilted than it was looked at is looked at again


class LandmarkTrees:
    """Finds landmarks with dlib's trees and tells tilts with its HOG detector; both are the engine's."""

    def __init__(self, predictor: dlib.shape_predictor, detector: dlib.fhog_object_detector) -> None:
        self._predictor = predictor
        self._detector = detector

    def landmarks(self, image: Image, box: Box) -> Points:
        """The 68 points of the face in the box, (68, 2) in pixels of the RGB picture."""
        view = closeup(image, box, FACE, SIDE)
        place = view.box_inwards(box)
        tilts = self._tilts(image, box)
        looks = {tilt: self._settled(view, place, tilt) for tilt in tilts}
        if len(looks) > 1:
            best = min(looks, key=lambda tilt: self._unrest(view, place, looks[tilt]) - LIKING * tilts[tilt])
        else:
            (best,) = looks
        return view.outwards(looks[best])

    def _settled(self, view: Closeup, place: Box, tilt: float) -> Points:
        """The points as seen at this tilt, or at the one that they have then."""
        points = self._seen(view, place, tilt)
        found = roll(points)
        return self._seen(view, place, found) if abs(found - tilt) > UPRIGHT else points

    def _unrest(self, view: Closeup, place: Box, points: Points) -> float:
        """How far the points go when the box is shifted, in box widths."""
        tilt = roll(points)
        moved = [self._seen(view, _shifted(place, *shift), tilt) for shift in SHIFTS]
        return float(np.mean([np.linalg.norm(other - points, axis=1).mean() for other in moved]) / place.width)

    def _seen(self, view: Closeup, place: Box, tilt: float) -> Points:
        """The points of a face of about this roll, in pixels of the view, in whose middle it lies."""
        left, top, right, bottom = place.rounded()
        shape = self._predictor(upright(view.image, tilt), dlib.rectangle(left, top, right - 1, bottom - 1))
        return tilted_back(np.array([(point.x, point.y) for point in shape.parts()], float), view.image, tilt)

    def _tilts(self, image: Image, box: Box) -> dict[float, float]:
        """The rolls that are in question, with how much HOG likes the face at each."""
        view = closeup(image, box, TILT_FACE, TILT_SIDE).image
        likes = {tilt: self._likes(upright(view, tilt)) for tilt in TILTS}
        least = max(likes.values()) - IN_DOUBT
        return {tilt: liked for tilt, liked in likes.items() if liked >= least}

    def _likes(self, view: Image) -> float:
        """The best HOG score of a face in the middle of the view."""
        boxes, scores, _ = self._detector.run(view, 0, FAINT)
        centres = [(np.array([box.left() + box.right() + 1, box.top() + box.bottom() + 1])) / 2 for box in boxes]
        offsets = [np.abs(centre - TILT_SIDE / 2).max() for centre in centres]
        return max((score for score, off in zip(scores, offsets, strict=True) if off < TILT_FACE / 2), default=FAINT)


def _shifted(box: Box, right: float, down: float) -> Box:
    """The box moved by shares of its width."""
    x, y = right * box.width, down * box.width
    return Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
