"""A region of a picture to repaint: cut it out at the base model's size, and add the difference to the picture."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.strips import list_strips, repeat
from shared.faces import Box
from shared.imaging.array_types import Image, Mask, Points
from shared.imaging.quantization import add_change
from shared.imaging.reduction import reduce_by_area
from shared.models.base_model import Conditioning

PromptPair = tuple[Conditioning, Conditioning]
"""The encoded prompt and negative prompt."""


@dataclass(frozen=True, eq=False)
class InpaintRegion:
    """A region of one picture to repaint.

    Attributes:
        image: the picture, RGB, uint8, (H, W, 3).
        square: the square that the model works on; may reach beyond the picture, which is then mirrored.
        mask: (H, W); the picture stays bit-identical where it is 0.
        landmarks: the face's landmarks, (68, 2), in pixels of the picture.
        words: the encoded prompt and negative prompt, from `PromptCache`.
        seed: seed of the noise.
        reference: a square around the face in the person's photo, RGB, uint8, (S, S, 3), for base models that look at
            it; None without one.
    """

    image: Image
    square: Box
    mask: Mask
    landmarks: Points
    words: PromptPair
    seed: int
    reference: Image | None = None

    def patch(self, size: int) -> Image:
        """Return the square at the model's size, RGB, uint8, (size, size, 3)."""
        patch_pixels: Image = cut_square(self.image, self.square, size)
        return patch_pixels

    def patch_mask(self, size: int) -> Mask:
        """Return the mask of the square at the model's size, (size, size)."""
        patch_pixels: Mask = cut_square(self.mask, self.square, size)
        return patch_pixels

    def patch_landmarks(self, size: int) -> Points:
        """Return the landmarks, (68, 2), in pixels of the patch of this size."""
        left, top, right, bottom = self.square.rounded()
        sides = np.array([max(right - left, 1), max(bottom - top, 1)])
        placed: Points = (self.landmarks + 0.5 - [left, top]) * (size / sides) - 0.5
        return placed

    def with_difference(self, difference: NDArray[np.float32]) -> Image:
        """Return a copy of the picture with the patch's change added, enlarged and multiplied by the mask.

        Args:
            difference: the change, float32, (size, size, 3), in 8-bit levels.
        """
        left, top, right, bottom = self.square.rounded()
        sides = max(right - left, 1), max(bottom - top, 1)
        interpolation = cv2.INTER_AREA if sides[0] < difference.shape[1] else cv2.INTER_LANCZOS4
        enlarged = cv2.resize(np.ascontiguousarray(difference), sides, interpolation=interpolation)
        rows = slice(max(top, 0), min(bottom, self.image.shape[0]))
        columns = slice(max(left, 0), min(right, self.image.shape[1]))
        part = enlarged[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        result = self.image.copy()
        for strip in list_strips(part.shape):
            there = slice(rows.start + strip.start, rows.start + strip.stop)
            share = self.mask[there, columns]
            if share.any():
                result[there, columns] = add_change(self.image[there, columns], part[strip] * repeat(share))
        return result


def cut_square(picture: Image | Mask, square: Box, size: int) -> Any:
    """Cut the square out of a picture or mask, mirrored beyond the border, and resize it to `size`.

    It is reduced by area averaging, enlarged by cubic interpolation.
    """
    left, top, right, bottom = square.rounded()
    height, width = picture.shape[:2]
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    inside: Any = picture[max(top, 0) : max(min(bottom, height), 0), max(left, 0) : max(min(right, width), 0)]
    room = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if max(room[:2]) < inside.shape[0] and max(room[2:]) < inside.shape[1]:
        cut = cv2.copyMakeBorder(inside, *room, cv2.BORDER_REFLECT_101) if any(room) else inside
    else:  # what is mirrored does not all lie in the square
        rows, columns = _mirror(np.arange(top, bottom), height), _mirror(np.arange(left, right), width)
        cut = np.ascontiguousarray(picture[rows[:, None], columns[None, :]])
    if len(cut) >= size and cut.ndim == 2:  # for a mask that is exact enough; the base model sees single levels
        return reduce_by_area(cut, (size, size))
    interpolation = cv2.INTER_AREA if len(cut) >= size else cv2.INTER_CUBIC
    return cv2.resize(cut, (size, size), interpolation=interpolation)


def _mirror(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Reflect positions outside 0 .. length - 1 into that range, however far outside they are."""
    if length == 1:
        return np.zeros_like(positions)
    folded = np.abs(positions) % (2 * length - 2)
    mirrored: NDArray[np.int64] = np.minimum(folded, 2 * length - 2 - folded)
    return mirrored
