"""A face rotated upright and scaled to a fixed size, so that lines on it can be measured."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import fit_upright
from functions.generate.face.light import Lab, Lightness
from shared.faces.antialiased_warp import warp_antialiased
from shared.imaging.array_types import Points

WIDTH = 192  # pixels across the face
SIDE = 320  # of the upright square, in pixels
DARKEST = 5.0  # lightness; below it no color can be measured
EVEN = (0.5, 2.0)  # bounds of the factor that makes chroma comparable between light and shade
BLOCK = 1.0  # sigma in pixels of the upright square; removes the noise of compressed color


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face WIDTH pixels wide whose eyes are level, in an upright square of SIDE pixels.

    Attributes:
        lab: LAB, (SIDE, SIDE, 3).
        points: its landmarks, (68, 2), in pixels of the square.
        matrix: affine map from the picture to the square, (2, 3).
    """

    lab: Lab
    points: Points
    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, lab: Lab, points: Points) -> "AlignedFace":
        """Align the face with the landmarks `points`, (68, 2), in pixels of `lab`."""
        matrix = fit_upright(points, WIDTH, (SIDE / 2, SIDE / 2))
        return cls(warp_antialiased(lab, matrix, SIDE), points @ matrix[:, :2].T + matrix[:, 2], matrix)

    @property
    def lightness(self) -> Lightness:
        """The face's lightness, 0 to 100, (SIDE, SIDE)."""
        return np.ascontiguousarray(self.lab[..., 0])

    def back(self, points: Points) -> Points:
        """Convert points of the upright square, (N, 2), to pixels of the picture."""
        inverse = cv2.invertAffineTransform(self.matrix)
        there: Points = points @ inverse[:, :2].T + inverse[:, 2]
        return there

    def lines(self, thickest: int, color: float, colored_light: bool = False) -> Lightness:
        """Return how much each pixel looks like part of a frame: how much darker than its surroundings, (SIDE, SIDE).

        Wrinkles, lashes and brows are dark lines too, but they have at least as much chroma as the skin; a frame has
        less.

        Args:
            thickest: largest thickness of a line, in pixels of the square.
            color: how much lightness one unit of missing chroma counts for.
            colored_light: whether chroma is taken relative to lightness; in colored light all that is darker has less
                of it, wrinkles too. A black frame has no chroma that could be measured like that.
        """
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickest, thickest))
        lightness = self.lightness
        dark = cv2.morphologyEx(lightness, cv2.MORPH_CLOSE, kernel) - lightness
        chroma = np.hypot(self.lab[..., 1], self.lab[..., 2])
        if colored_light:
            chroma = chroma * np.clip(np.float32(np.median(lightness)) / np.maximum(lightness, DARKEST), *EVEN)
        chroma = cv2.GaussianBlur(chroma, (0, 0), BLOCK)
        less = cv2.morphologyEx(chroma, cv2.MORPH_CLOSE, kernel) - chroma
        more = chroma - cv2.morphologyEx(chroma, cv2.MORPH_OPEN, kernel)
        found: Lightness = np.maximum(dark + color * (less - more), 0)
        return found


def sample(plane: Lightness, points: Points) -> Lightness:
    """Sample a plane of the upright square at points, (..., 2)."""
    x, y = (np.ascontiguousarray(points[..., i], np.float32) for i in (0, 1))
    found: Lightness = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found
