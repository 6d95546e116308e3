"""Where the person's forehead ends: below the first strand of hair, so that no strand is left alone on it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.landmarks import BROWS, NOSE_BRIDGE, face_width
from functions.generate.face.light import Lightness
from functions.generate.face.working_size import rescale
from shared.imaging.array_types import Mask, Points

WORKING_WIDTH = 160  # pixels across the face; strands are a few pixels wide there
LONGEST = 0.06  # face widths across; a line that is longer lies level, as a wrinkle does
STRAND = 9.0  # lightness by which a strand is darker or lighter than what lies beside it
LOWEST = 0.07  # face widths above the middle of the brows; below it lie the brows themselves
HIGHEST = 0.45  # nothing of a face is higher
# face widths from the lower to the upper end of a strand, and above the brows to its upper end: moles and what is seen
# of a crease are shorter, and a frown between the brows ends lower
SHORTEST, HANGING = 0.02, 0.15
# face widths to each side of a strand, and below its lower end, within which shorter pieces are hair too. A speck or a
# crease farther below the hairline is skin: as hair it would cut a notch into the forehead
AMONG, UNDER = 0.1, 0.15
BESIDE = 0.05  # face widths to each side of a strand that end with it
ROOM, FADING = 0.03, 0.05  # face widths below a strand where the forehead ends, and over which it fades out


def clear_forehead(points: Points, lightness: Lightness) -> Mask:
    """Return a mask, (H, W), that is 0 from the lowest strand of hair on the forehead upwards, and 1 elsewhere.

    Args:
        points: the face's landmarks, (68, 2), in pixels of the canvas.
        lightness: of the person's face on the canvas, (H, W).
    """
    size, factor = lightness.shape[:2], min(1.0, WORKING_WIDTH / face_width(points))
    across, down = max(1, round(size[1] * factor)), max(1, round(size[0] * factor))
    small = cv2.resize(lightness, (across, down), interpolation=cv2.INTER_AREA)
    mask = _compute_mask(rescale(points, size, (down, across)), small)
    clear: Mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_LINEAR)
    return clear


def _compute_mask(points: Points, lightness: Lightness) -> Mask:
    width = face_width(points)
    brows = points[BROWS].mean(axis=0)
    up = brows - points[NOSE_BRIDGE].mean(axis=0)
    up = up / np.linalg.norm(up)
    y, x = np.mgrid[: lightness.shape[0], : lightness.shape[1]].astype(np.float32)
    height = ((x - brows[0]) * up[0] + (y - brows[1]) * up[1]) / width
    column = np.rint((x - brows[0]) * -up[1] + (y - brows[1]) * up[0]).astype(int)
    column -= column.min()
    level = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * round(LONGEST * width / 2) + 1, 1))
    dark = cv2.morphologyEx(lightness, cv2.MORPH_CLOSE, level) - lightness
    light = lightness - cv2.morphologyEx(lightness, cv2.MORPH_OPEN, level)
    strands = np.maximum(dark, light)
    found = (strands > STRAND) & (height > LOWEST) & (height < HIGHEST)
    found &= masks.brows(points, (lightness.shape[0], lightness.shape[1])) < 0.5
    found &= _keep_hair(found, height, column, width)
    lowest = np.full(column.max() + 1, HIGHEST, np.float32)
    np.minimum.at(lowest, column[found], height[found].astype(np.float32))
    reach = 2 * round(BESIDE * width) + 1
    lowest = cv2.erode(lowest[None], np.ones((1, reach), np.uint8))
    lowest = cv2.GaussianBlur(lowest, (0, 0), BESIDE * width / 2)[0]
    clear: Mask = np.clip((lowest[column] - ROOM - height) / FADING, 0, 1).astype(np.float32)
    return clear


def _keep_hair(
    found: NDArray[np.bool_], height: NDArray[np.float32], column: NDArray[np.int_], width: float
) -> NDArray[np.bool_]:
    """Return the pieces of `found`, (H, W), that are as long as a strand and hang down from above, or lie beside one.

    Args:
        found: what is darker or lighter than what lies beside it.
        height, column: of each pixel, in face widths above the brows, and in pixels across, (H, W).
        width: the face's width in pixels.
    """
    count, pieces = cv2.connectedComponents(found.astype(np.uint8), connectivity=8)
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    where = pieces[found]
    np.minimum.at(lowest, where, height[found])
    np.maximum.at(highest, where, height[found])
    strands = (highest - lowest > SHORTEST) & (highest > HANGING)
    hanging = strands[where]
    lowest_strand = np.full(column.max() + 1, np.inf, np.float32)
    np.minimum.at(lowest_strand, column[found][hanging], height[found][hanging].astype(np.float32))
    lowest_strand = cv2.erode(lowest_strand[None], np.ones((1, 2 * round(AMONG * width) + 1), np.uint8))[0]
    hair: NDArray[np.bool_] = height > lowest_strand[column] - UNDER
    return hair
