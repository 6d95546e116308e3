"""A face cut out of its photo: close-ups as they are, and upright squares of working size with a mask for the loss."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces import pose
from shared.faces.base import Box, Face
from shared.imaging.array_types import Image, Mask

ROOM = 1.6  # side of the close-up over that of the crop: a square tilted by 45 degrees, zoomed and shifted, still fits
DETAIL = 1.25  # pixels of the close-up per pixel of the crop: the last resampling may not alias
HEAD_WIDTH, HEAD_HEIGHT, HEAD_UP = (
    0.68,
    0.85,
    0.12,
)  # half axes and lift of the head's ellipse per box side
SOFT = 0.08  # blur of the ellipse's edge per box side


@dataclass(frozen=True)
class Variation:
    """A slight change of a crop: zoom, turn in degrees, shift in parts of the crop's side, mirrored or not."""

    zoom: float = 1.0
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirrored: bool = False


STRAIGHT = Variation()


@dataclass(frozen=True, eq=False)
class Crop:
    """An upright square around a face.

    Attributes:
        image: RGB, uint8, (size, size, 3).
        mask: float32 (size, size): 1 on the head, 0 where the photo ends, a little in between.
    """

    image: Image
    mask: Mask


def crop_face(image: Image, face: Face, factor: float, most: float) -> tuple[Image, Face]:
    """The part of the photo around a face, and the face in that part's pixels.

    Args:
        image: RGB, uint8, (H, W, 3).
        factor: side of the part over the longer side of the face's box; the photo's borders cut it off.
        most: longest side of the result in pixels; smaller parts keep their size.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = face.box.square(factor).rounded()
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    part = image[top:bottom, left:right]
    scale = min(1.0, most / max(part.shape[:2]))
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    box = Box(face.box.left - left, face.box.top - top, face.box.right - left, face.box.bottom - top)
    return np.ascontiguousarray(part), Face(box.scaled(scale), (face.landmarks - (left, top)) * scale, face.score)


def closest_crop(image: Image, face: Face, size: int, framing: float) -> tuple[Image, Face]:
    """The close-up from which `cut` makes crops of this size and framing without loss; the photo can be let go."""
    return crop_face(image, face, framing * ROOM, size * ROOM * DETAIL)


def cut(image: Image, face: Face, size: int, framing: float, outside: float, variation: Variation = STRAIGHT) -> Crop:
    """The face upright in a square.

    Args:
        image: RGB, uint8, (H, W, 3), best a close-up of about the wanted scale.
        size: side of the square in pixels.
        framing: side of the square over the longer side of the face's box.
        outside: what the mask is away from the head.
    """
    matrix = _placement(face, size, framing, variation)
    picture = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    inside = cv2.warpAffine(np.ones(image.shape[:2], np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    mask = inside * np.maximum(_head(face, size, framing, variation), outside)
    if variation.mirrored:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    return Crop(np.ascontiguousarray(picture), np.ascontiguousarray(mask, np.float32))


def draw_variations(count: int, generator: np.random.Generator) -> list[Variation]:
    """`count` slightly different crops, the first one straight, each also mirrored."""
    made = [STRAIGHT]
    for _ in range(count - 1):
        x, y = generator.uniform(-0.04, 0.04, 2)
        made.append(Variation(generator.uniform(0.92, 1.08), generator.uniform(-5, 5), (float(x), float(y))))
    return [Variation(v.zoom, v.turn, v.shift, mirrored) for v in made for mirrored in (False, True)]


def _placement(face: Face, size: int, framing: float, variation: Variation) -> NDArray[np.float64]:
    """The 2 x 3 matrix from the photo's pixels to the crop's."""
    scale = size * variation.zoom / face.box.square(framing).width
    turn = pose.estimate_pose(face.landmarks).roll + variation.turn
    matrix: NDArray[np.float64] = cv2.getRotationMatrix2D(face.box.center, turn, scale)
    x, y = face.box.center
    matrix[:, 2] += (size * (0.5 + variation.shift[0]) - x, size * (0.5 + variation.shift[1]) - y)
    return matrix


def _head(face: Face, size: int, framing: float, variation: Variation) -> Mask:
    """A soft ellipse where the head is in the crop: upright as the crop is, but for the variation."""
    side = size * variation.zoom / framing
    center = size * (0.5 + variation.shift[0]), size * (0.5 + variation.shift[1]) - HEAD_UP * side
    mask = np.zeros((size, size), np.float32)
    axes = 2 * HEAD_WIDTH * side, 2 * HEAD_HEIGHT * side
    cv2.ellipse(mask, (center, axes, -variation.turn), 1.0, cv2.FILLED)
    soft: Mask = cv2.GaussianBlur(mask, (0, 0), max(SOFT * side, 0.5))
    return soft
