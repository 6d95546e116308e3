"""Groups of heads cut out of pictures, cheek to cheek or apart, of which the number and the places of faces are known.

They are those of benchmarks/group_faces.py and of the tests.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from shared.faces import Face
from shared.imaging.array_types import Image, Points

WIDTH, SIZES = 120, (0.65, 1.5)  # pixels of a face of the middle size, and sizes of faces in that
MOST_TILT = 20.0  # degrees of a head
HEAD_WIDTH, HEAD_HEIGHT, HEAD_UP = 0.62, 0.85, 0.12  # half axes of the ellipse that is cut out, in face widths
FEWEST, MOST = 2, 6  # heads
FACE_WIDTH, FACE_HEIGHT, COVERED = 0.42, 0.5, 0.15  # the same of its face, and its share that another head may cover


@dataclass(frozen=True, eq=False)
class Group:
    """A picture of several heads, and of each face the middle and the width in pixels, (N, 2) and (N,)."""

    image: Image
    middles: Points
    widths: NDArray[np.float64]


def make_group(people: list[tuple[Image, Face]], gaps: tuple[float, float], random: np.random.Generator) -> Group:
    """Set heads beside each other before brick, gravel or grass; who stands in front is left to chance.

    Groups in which a head covers much of another's face are not taken.
    """
    while True:
        group, covered = set_heads(people, gaps, random)
        if covered <= COVERED:
            return group


def set_heads(
    people: list[tuple[Image, Face]], gaps: tuple[float, float], random: np.random.Generator
) -> tuple[Group, float]:
    """Return a group and the largest share of a face that is covered."""
    count = int(random.integers(FEWEST, MOST + 1))
    chosen = [people[one] for one in random.choice(len(people), count, replace=len(people) < count)]
    widths = WIDTH * random.uniform(*SIZES, count)
    steps = random.uniform(*gaps, count - 1) * (widths[:-1] + widths[1:]) / 2
    x = np.concatenate([[0.0], np.cumsum(steps)]) + 1.5 * widths.max()
    y = 1.6 * widths.max() + random.uniform(-0.3, 0.3, count) * widths
    size = int(3.2 * widths.max()), int(x[-1] + 1.5 * widths.max())
    wall = getattr(skimage.data, str(random.choice(["brick", "gravel", "grass"])))()
    image = np.repeat(cv2.resize(wall, size[::-1], interpolation=cv2.INTER_AREA)[..., None], 3, axis=2)
    middles = np.column_stack([x, y])
    order, tilts = random.permutation(count), random.uniform(-MOST_TILT, MOST_TILT, count)
    covered, in_front = 0.0, np.zeros(image.shape[:2], np.float32)
    heads = [ellipse(image, middles[one], widths[one], tilts[one], HEAD_UP, (HEAD_WIDTH, HEAD_HEIGHT)) for one in order]
    for one, head in zip(order[::-1], heads[::-1], strict=True):
        face = ellipse(image, middles[one], widths[one], tilts[one], 0, (FACE_WIDTH, FACE_HEIGHT))
        covered = max(covered, float((face * in_front).sum() / face.sum()))
        in_front = np.maximum(in_front, head)
    for one, head in zip(order, heads, strict=True):
        paste(image, chosen[one], middles[one], float(widths[one]), float(tilts[one]), head)
    return Group(image, middles, widths), covered


def ellipse(
    image: Image, middle: Points, width: float, tilt: float, up: float, axes: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a mask with soft edges; its half axes and its height above the middle are in face widths."""
    mask = np.zeros(image.shape[:2], np.float32)
    x, y = middle + np.array([np.sin(np.radians(tilt)), -np.cos(np.radians(tilt))]) * up * width
    cv2.ellipse(mask, (round(x), round(y)), [round(axis * width) for axis in axes], tilt, 0, 360, 1, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.02 * width))


def paste(
    image: Image, person: tuple[Image, Face], middle: Points, width: float, tilt: float, mask: NDArray[np.float32]
) -> None:
    """Draw a person where the mask is, so that the face has this middle and width."""
    picture, face = person
    factor = width / face.box.width
    if factor < 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    here = np.array(face.box.center) * min(factor, 1)
    matrix = cv2.getRotationMatrix2D(here.tolist(), -tilt, max(factor, 1))
    matrix[:, 2] += middle - here
    size = image.shape[1::-1]
    drawn = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = mask[..., None]
    image[:] = np.round(image * (1 - share) + drawn * share).astype(np.uint8)
