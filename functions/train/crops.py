"""Faces cut out of photos: upright squares of working size with a loss mask, and the close-ups that they come from."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces import pose
from shared.faces.base import Face
from shared.imaging.array_types import Image, Mask
from shared.photos.close_up import CloseUp, cut_close_up

ROOM = 1.6  # close-up side over crop side: leaves room for a crop that is tilted by 45 degrees, zoomed and shifted
DETAIL = 1.25  # close-up pixels per crop pixel, so that the final resampling does not alias
HEAD_WIDTH, HEAD_HEIGHT, HEAD_UP = (
    0.68,
    0.85,
    0.12,
)  # half axes of the head's ellipse and its shift upwards, as fractions of the face box's side
SOFT = 0.08  # sigma of the blur of the ellipse's edge, as a fraction of the face box's side


@dataclass(frozen=True)
class Variation:
    """A slight change of a crop: zoom factor, rotation in degrees, shift in fractions of the crop's side, mirroring."""

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
        mask: weight of each pixel in the loss, float32, (size, size): 1 on the head, `outside` away from it, and 0
            beyond the photo's borders.
    """

    image: Image
    mask: Mask


def closest_crop(image: Image, face: Face, size: int, framing: float) -> CloseUp:
    """Return the smallest close-up from which `cut` makes crops of this size and framing without losing detail."""
    return cut_close_up(image, face, framing * ROOM, size * ROOM * DETAIL)


def cut(image: Image, face: Face, size: int, framing: float, outside: float, variation: Variation = STRAIGHT) -> Crop:
    """Cut out an upright square around a face.

    Args:
        image: RGB, uint8, (H, W, 3), preferably a close-up of about the wanted scale.
        face: in the pixel coordinates of `image`.
        size: side of the square in pixels.
        framing: side of the square over the longer side of the face's box.
        outside: value of the mask away from the head.
        variation: zoom, rotation, shift and mirroring on top of that.
    """
    matrix = _placement(face, size, framing, variation)
    picture = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    inside = cv2.warpAffine(np.ones(image.shape[:2], np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    mask = inside * np.maximum(_head(face, size, framing, variation), outside)
    if variation.mirrored:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    return Crop(np.ascontiguousarray(picture), np.ascontiguousarray(mask, np.float32))


def draw_variations(count: int, generator: np.random.Generator) -> list[Variation]:
    """Draw `count` slightly different variations, of which the first is `STRAIGHT`; each also comes mirrored."""
    made = [STRAIGHT]
    for _ in range(count - 1):
        x, y = generator.uniform(-0.04, 0.04, 2)
        made.append(Variation(generator.uniform(0.92, 1.08), generator.uniform(-5, 5), (float(x), float(y))))
    return [Variation(v.zoom, v.turn, v.shift, mirrored) for v in made for mirrored in (False, True)]


def _placement(face: Face, size: int, framing: float, variation: Variation) -> NDArray[np.float64]:
    """Return the 2 x 3 matrix that maps the photo's pixels to the crop's."""
    scale = size * variation.zoom / face.box.square(framing).width
    turn = pose.estimate_pose(face.landmarks).roll + variation.turn
    matrix: NDArray[np.float64] = cv2.getRotationMatrix2D(face.box.center, turn, scale)
    x, y = face.box.center
    matrix[:, 2] += (size * (0.5 + variation.shift[0]) - x, size * (0.5 + variation.shift[1]) - y)
    return matrix


def _head(face: Face, size: int, framing: float, variation: Variation) -> Mask:
    """Return a soft elliptical mask of the head in the crop, (size, size); the crop is upright up to the variation."""
    side = size * variation.zoom / framing
    center = size * (0.5 + variation.shift[0]), size * (0.5 + variation.shift[1]) - HEAD_UP * side
    mask = np.zeros((size, size), np.float32)
    axes = 2 * HEAD_WIDTH * side, 2 * HEAD_HEIGHT * side
    cv2.ellipse(mask, (center, axes, -variation.turn), 1.0, cv2.FILLED)
    soft: Mask = cv2.GaussianBlur(mask, (0, 0), max(SOFT * side, 0.5))
    return soft
