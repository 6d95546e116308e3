"""A face turned upright and brought to one size, so that lines on it can be measured."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES, face_width
from functions.generate.face.light import Lab, Lightness
from shared.imaging.array_types import Points

WIDTH = 192  # pixels across the face
SIDE = 320  # of the upright square
BLOCK = 1.0  # sigma in pixels of WIDTH that takes the noise of compressed color away


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face whose eyes are level, WIDTH pixels wide, in a square of SIDE.

    Attributes:
        lab: (SIDE, SIDE, 3).
        points: (68, 2), its landmarks.
        matrix: (2, 3), the way there from the picture.
    """

    lab: Lab
    points: Points
    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, lab: Lab, points: Points) -> "AlignedFace":
        """Of the face at `points`, (68, 2) in pixels of `lab`."""
        center = points.mean(axis=0)
        across = points[EYES[1]].mean(axis=0) - points[EYES[0]].mean(axis=0)
        scale = WIDTH / face_width(points)
        angle = float(np.degrees(np.arctan2(across[1], across[0])))
        matrix = cv2.getRotationMatrix2D((float(center[0]), float(center[1])), angle, scale)
        matrix[:, 2] += SIDE / 2 - center
        if scale < 0.5:  # the affine warp does not average: blur away what it would step over
            lab = cv2.GaussianBlur(lab, (0, 0), 0.4 / scale)
        turned = cv2.warpAffine(lab, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return cls(turned, points @ matrix[:, :2].T + matrix[:, 2], matrix)

    @property
    def lightness(self) -> Lightness:
        """(SIDE, SIDE), 0 to 100."""
        return np.ascontiguousarray(self.lab[..., 0])

    def back(self, points: Points) -> Points:
        """(N, 2) of the upright square in pixels of the picture."""
        inverse = cv2.invertAffineTransform(self.matrix)
        there: Points = points @ inverse[:, :2].T + inverse[:, 2]
        return there

    def lines(self, thickest: int, color: float) -> Lightness:
        """How much each pixel looks like part of a frame: in lightness by which it lies below what is around it.

        Wrinkles, lashes and brows are lines too, but of more color than the skin, or of as much; a frame has less.

        Args:
            thickest: pixels that a line has at most.
            color: what a missing unit of chroma counts, in lightness.
        """
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickest, thickest))
        lightness = self.lightness
        dark = cv2.morphologyEx(lightness, cv2.MORPH_CLOSE, kernel) - lightness
        chroma = cv2.GaussianBlur(np.hypot(self.lab[..., 1], self.lab[..., 2]), (0, 0), BLOCK)
        less = cv2.morphologyEx(chroma, cv2.MORPH_CLOSE, kernel) - chroma
        more = chroma - cv2.morphologyEx(chroma, cv2.MORPH_OPEN, kernel)
        found: Lightness = np.maximum(dark + color * (less - more), 0)
        return found


def sample(plane: Lightness, points: Points) -> Lightness:
    """A plane of the upright square at (..., 2) points."""
    x, y = (np.ascontiguousarray(points[..., i], np.float32) for i in (0, 1))
    found: Lightness = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found
