"""A face cut out of a picture, with what every step asks of it: made when first asked for, and once."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.landmarks import face_width
from functions.generate.face.palette import Palette
from shared.imaging.array_types import Image, Mask, Points


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face and what is around it.

    What it gives is shared by all who ask: nobody writes into it.

    Attributes:
        picture: RGB, uint8, (H, W, 3), that it is cut out of.
        rows, columns: of the picture, where it lies.
        points: (68, 2) of the face, in pixels of the crop.
    """

    picture: Image
    rows: slice
    columns: slice
    points: Points

    @classmethod
    def of(cls, picture: Image, landmarks: Points, margin: float = masks.REGION_MARGIN) -> "FaceCrop":
        """Of the face at `landmarks`, (68, 2) in pixels of the picture, and `margin` face widths around it."""
        rows, columns = masks.region(landmarks, picture.shape[:2], margin)
        return cls(picture, rows, columns, landmarks - np.array([columns.start, rows.start]))

    @classmethod
    def whole(cls, picture: Image, points: Points) -> "FaceCrop":
        """All of a picture that shows little else."""
        return cls(picture, slice(0, picture.shape[0]), slice(0, picture.shape[1]), points)

    @property
    def empty(self) -> bool:
        """Whether the face lies outside of the picture."""
        return min(self.size) <= 0

    @property
    def image(self) -> Image:
        """RGB, uint8, (h, w, 3): a view into the picture."""
        return self.picture[self.rows, self.columns]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @cached_property
    def width(self) -> float:
        """Of the face, in pixels."""
        return face_width(self.points)

    @cached_property
    def lab(self) -> light.Lab:
        """(h, w, 3)."""
        return light.to_lab(self.image)

    @cached_property
    def face(self) -> Mask:
        """`masks.face`, (h, w)."""
        return masks.face(self.points, self.size)

    @cached_property
    def bare(self) -> Mask:
        """`masks.bare`, (h, w)."""
        return masks.bare(self.points, self.size)

    @cached_property
    def skin_likeness(self) -> Mask:
        """How much each pixel looks like the face's skin, wherever it lies, (h, w)."""
        return light.skin_likeness(self.lab, self.bare)

    @cached_property
    def skin(self) -> Mask:
        """Where the face's skin is, (h, w): bare of features, hair, beard and frames."""
        skin: Mask = self.bare * self.skin_likeness
        return skin

    @cached_property
    def palette(self) -> Palette:
        """The colors and tones of the face."""
        return Palette.of(self.lab, self.face, self.width)

    def cut(self, plane: Mask) -> Mask:
        """The crop's part of a mask of the picture, (H, W)."""
        return plane[self.rows, self.columns]

    def scaled(self, width: float) -> "FaceCrop":
        """The crop reduced until its face is `width` pixels wide; never enlarged, and then no longer of the picture."""
        factor = min(1.0, width / self.width)
        height, across = (max(1, round(side * factor)) for side in self.size)
        small = cv2.resize(self.image, (across, height), interpolation=cv2.INTER_AREA)
        return FaceCrop.whole(small, rescale(self.points, self.size, (height, across)))

    def paste(self, changed: Image, where: NDArray[np.bool_]) -> Image:
        """The picture with what the crop became, RGB uint8 (h, w, 3), wherever `where`, (h, w), is true."""
        done = self.picture.copy()
        np.copyto(done[self.rows, self.columns], changed, where=where[..., None])
        return done


def rescale(points: Points, size: tuple[int, int], target: tuple[int, int]) -> Points:
    """Where points, (N, 2), of a canvas of (height, width) `size` lie once it is resized to `target`.

    Pixels are counted from their centers, as cv2 does.
    """
    scale = np.array([target[1] / size[1], target[0] / size[0]])
    placed: Points = (points + 0.5) * scale - 0.5
    return placed
