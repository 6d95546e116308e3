"""Faces of which something hides a half: a cup, a hand, a cloth, a book, the border of the picture.

The closer look that tells faces from other things and upright ones from those upside down expects a whole face. What
loses hidden ones, though BlazeFace's full range finds them with 0.6 and more, and what is done here:

| why a face is lost | here |
|---|---|
| half of what the short range looks for is missing, its score is below `CONFIRMED` | either network may see the face |
| it puts an eye on the cup; the mesh starts tilted and does not settle | the mesh starts from several boxes |
| the mesh sees half of a face and is less sure | its looks have to agree, with the detectors' eyes too |
| eyes and brows read both ways up, and the mesh is as sure of both | it settles sooner the right way up |
| the border cuts the face off, or it is larger than the picture | a black margin, as both networks were trained with |

That takes a tenth of a second for a candidate, so it is for candidates of which no face was found otherwise. The margin
is for pictures in which there is none at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from shared.faces.blazeface import BlazeFace, Candidate, reduce_for_search
from shared.faces.face_mesh import IRISES, FaceMesh, Look, eyes
from shared.imaging.array_types import Image

# all by such pictures as those of benchmarks/hidden_faces.py, mostly of other people than its figures
LIKELY = 0.6  # score of the candidate; hidden faces have that and more, most others 0.5 to 0.6
SEEN_AGAIN = 0.6  # the better score of the closer looks; 0.6 and more for hidden faces, up to 0.56 for others
SURE = 0.0  # logit of the mesh's presence: 0.5, MediaPipe's own default
UNREST = 0.06  # of a single look that counts, as for other faces
STEADY = 0.035  # median unrest of the looks at a hidden face; 0.003 to 0.03, others from 0.03 on
STEADIER = 1.2  # times as much unrest has a face in the wrong one of two opposite turns
TOGETHER = 0.06  # distance of the looks' points from their mean, in widths of the candidate
EYES_OFF = 0.2  # distance of the mesh's eyes from the network's, in widths of its box; 0.13 and less if both are right
ENOUGH = 2  # looks of three that have to be sure
MOST = 8  # candidates of one picture, best first
MARGIN = 0.5  # of the long side; the part of a face that a border cuts off is smaller than the picture


@dataclass(frozen=True, eq=False)
class HiddenFaces:
    """Finds them with the engine's own networks."""

    detector: BlazeFace
    mesh: FaceMesh

    def find(self, image: Image, candidates: Sequence[Candidate]) -> list[tuple[Look, float]]:
        """Return the mesh and the detector's score of each face.

        Args:
            image: RGB, in which no face was found.
            candidates: the detector's, best first.
        """
        return self.find_among(image, candidates, candidates) or self._find_with_margin(image)

    def settles_upside_down(
        self, image: Image, candidate: Candidate, unrest: float, others: Sequence[Candidate] = ()
    ) -> bool:
        """Return whether the mesh sees a face in a candidate turned by 180 degrees, with less than this unrest."""
        over = self._sure_looks(image, self.detector.look_closely(image, candidate, 180.0, others))
        return bool(over) and _median_unrest(over) < unrest

    def find_among(
        self, image: Image, candidates: Sequence[Candidate], others: Sequence[Candidate]
    ) -> list[tuple[Look, float]]:
        """Return the mesh and the detector's score of each face among candidates, best first; `others` are all."""
        likely = [one for one in candidates if one.score >= LIKELY][:MOST]
        looks = [(self.look(image, one, others), one.score) for one in likely]
        return [(look, score) for look, score in looks if look is not None]

    def _find_with_margin(self, image: Image) -> list[tuple[Look, float]]:
        small, factor = reduce_for_search(image)
        margin = round(MARGIN * max(small.shape[:2]))
        wide = cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        candidates = self.detector.candidates(wide)
        found = self.find_among(wide, candidates, candidates)
        return [(replace(look, points=(look.points - [margin, margin, 0]) / factor), score) for look, score in found]

    def look(self, image: Image, candidate: Candidate, others: Sequence[Candidate]) -> Look | None:
        """Return the steadiest of several looks at a candidate; None if they do not show a face, upright as it is.

        Args:
            others: the picture's candidates; a face that is one of them is not this one, though it is near.
        """
        again = self.detector.look_closely(image, candidate, 0.0, others)
        if max((one.score for one in again), default=0.0) < SEEN_AGAIN:
            return None
        upright = self._sure_looks(image, [candidate, *again])
        if len(upright) < ENOUGH or _spread(upright) > TOGETHER * candidate.box.width:
            return None
        unrest = _median_unrest(upright)
        if unrest > STEADY:
            return None
        if self.settles_upside_down(image, candidate, STEADIER * unrest, others):
            return None
        return min(upright, key=lambda look: look.unrest)

    def _sure_looks(self, image: Image, seen: Sequence[Candidate]) -> list[Look]:
        looks = [(self.mesh.look(image, one.box, one.eyes), one) for one in seen]
        return [
            look
            for look, one in looks
            if look.presence >= SURE
            and look.unrest <= UNREST
            and np.linalg.norm(eyes(look.points) - one.eyes, axis=1).max() <= EYES_OFF * one.box.width
        ]


def _median_unrest(looks: Sequence[Look]) -> float:
    return float(np.median([look.unrest for look in looks]))


def _spread(looks: Sequence[Look]) -> float:
    """Return how far the points of the look that is most apart are from the mean of all, in pixels."""
    points = np.array([look.points[:IRISES, :2] for look in looks])
    return float(np.linalg.norm(points - points.mean(axis=0), axis=2).mean(axis=1).max())
