"""Square crops of faces, resized to a known size, and conversion of positions between crop and picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from shared.faces.base import Box
from shared.imaging.array_types import Image, Points
from shared.imaging.reduction import halve


@dataclass(frozen=True, eq=False)
class ResizedCrop:
    """A square crop around a face, resized; outside the picture its border is repeated.

    Attributes:
        image: RGB, uint8, (side, side, 3).
        left, top: where its corner lies in the picture.
        factor: its pixels per pixel of the picture.
    """

    image: Image
    left: int
    top: int
    factor: float

    def inwards(self, points: Points) -> Points:
        """Convert positions in the picture, (N, 2), to positions in the crop."""
        return (points - [self.left, self.top]) * self.factor

    def outwards(self, points: Points) -> Points:
        """Convert positions in the crop, (N, 2), to positions in the picture."""
        return points / self.factor + [self.left, self.top]

    def box_inwards(self, box: Box) -> Box:
        """Convert a box of the picture to one of the crop."""
        corners = self.inwards(np.array([[box.left, box.top], [box.right, box.bottom]]))
        return Box(*corners.ravel().tolist())

    def box_outwards(self, box: Box) -> Box:
        """Convert a box of the crop to one of the picture."""
        corners = self.outwards(np.array([[box.left, box.top], [box.right, box.bottom]]))
        return Box(*corners.ravel().tolist())


def crop_face(image: Image, box: Box, face: int, side: int) -> ResizedCrop:
    """Crop a square of `side` pixels in which the box is `face` pixels wide, centered on the box.

    Small faces are enlarged bicubically, large ones reduced by area, so that networks get neither jaggies nor aliases.
    """
    height, width = image.shape[:2]
    reach = box.width * side / face / 2
    center_x, center_y = box.center
    left, top = int(np.floor(center_x - reach)), int(np.floor(center_y - reach))
    size = max(int(np.ceil(2 * reach)), 1)
    # a box far outside the picture still gives a crop: one row or column, repeated
    x, y = np.clip([left, left + size], 0, width), np.clip([top, top + size], 0, height)
    x, y = np.clip(x, [0, 1], [width - 1, width]), np.clip(y, [0, 1], [height - 1, height])
    cut = image[y[0] : y[1], x[0] : x[1]]
    above, below = max(int(y[0]) - top, 0), max(top + size - int(y[1]), 0)
    before, behind = max(int(x[0]) - left, 0), max(left + size - int(x[1]), 0)
    square = cv2.copyMakeBorder(cut, above, below, before, behind, cv2.BORDER_REPLICATE)
    interpolation = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    return ResizedCrop(cv2.resize(square, (side, side), interpolation=interpolation), left, top, side / size)


def crop_face_quickly(image: Image, box: Box, face: int, side: int) -> ResizedCrop:
    """Crop like `crop_face`, in a tenth of the time for large faces: halve the crop while it stays large enough."""
    reach = box.width * side / face / 2
    steps = int(np.log2(max(2 * reach / side, 1)))
    if steps == 0:
        return crop_face(image, box, face, side)
    height, width = image.shape[:2]
    x, y = box.center
    left, right = (int(np.clip(x + sign * (reach + 1), 0, width)) for sign in (-1, 1))
    top, bottom = (int(np.clip(y + sign * (reach + 1), 0, height)) for sign in (-1, 1))
    small = image[top:bottom, left:right]
    if min(small.shape[:2]) < 2**steps:
        return crop_face(image, box, face, side)
    for _ in range(steps):
        small = halve(small)
    times = 2**steps
    moved = Box(box.left - left, box.top - top, box.right - left, box.bottom - top)
    view = crop_face(small, moved.scaled(1 / times), face, side)
    return ResizedCrop(view.image, left + view.left * times, top + view.top * times, view.factor / times)
