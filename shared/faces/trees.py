"""The 68 landmarks by dlib's regression trees, for faces of every tilt that the HOG detector knows.

The trees (Kazemi & Sullivan 2014) give a tilted face an upright one's landmarks, so the face is turned upright before.
How far is told by two witnesses: how much HOG likes the face at a tilt, and how little the landmarks change when the
box is moved a little. On the wrong tilt the trees do not come to rest: HOG alone takes 45 degrees for upright at times.
"""

from collections.abc import Sequence

import dlib
import numpy as np
from numpy.typing import NDArray

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
NEAR, ASTRAY = 22.5, 0.002  # degrees from the tilt that HOG likes, and the change that each beyond them is worth
RESTLESS = 0.03  # change in box widths from where no single look is to be trusted; steady faces have 0.005 to 0.02
UPRIGHT = 10.0  # degrees; a face found more tilted than it was looked at is looked at again

Looks = NDArray[np.float64]
"""(L, 68, 2): landmarks as several looks at a face gave them, in pixels of a close-up."""


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
        best = min(tilts, key=lambda tilt: _doubt(looks[tilt], place.width, tilt, tilts[tilt]))
        if _unrest(looks[best]) <= RESTLESS * place.width:
            return view.outwards(looks[best][0])
        # nothing is to be trusted: most faces are upright
        return view.outwards(np.median(looks.get(0.0, looks[best]), axis=0))

    def _settled(self, view: Closeup, place: Box, tilt: float) -> Looks:
        """The points as seen at this tilt, or at the one that they have then; first in this place, then around it."""
        (points,) = self._seen(view, [place], tilt)
        found = roll(points)
        if abs(found - tilt) > UPRIGHT:
            tilt = found
        return self._seen(view, [place, *(_shifted(place, *shift) for shift in SHIFTS)], tilt)

    def _seen(self, view: Closeup, places: Sequence[Box], tilt: float) -> Looks:
        """The points of a face of about this roll, seen in each of the places, in pixels of the view."""
        turned, looks = upright(view.image, tilt), []
        for place in places:
            left, top, right, bottom = place.rounded()
            shape = self._predictor(turned, dlib.rectangle(left, top, right - 1, bottom - 1))
            points = np.array([(point.x, point.y) for point in shape.parts()], float)
            looks.append(tilted_back(points, view.image, tilt))
        return np.array(looks)

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


def _doubt(looks: Looks, width: float, tilt: float, liked: float) -> float:
    """How little the looks speak for a tilt that HOG likes so much, in box widths; the box is so wide in the view."""
    astray = max(abs(roll(looks[0]) - tilt) - NEAR, 0)
    return _unrest(looks) / width + ASTRAY * astray - LIKING * liked


def _unrest(looks: Looks) -> float:
    """How far the points go when the box is shifted, in pixels of the view."""
    return float(np.linalg.norm(looks[1:] - looks[0], axis=-1).mean())


def _shifted(box: Box, right: float, down: float) -> Box:
    """The box moved by shares of its width."""
    x, y = right * box.width, down * box.width
    return Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
