"""Soft masks drawn from landmarks: the face, its features, the ring around it.

Masks are float32 in [0, 1]. They are smooth, so all are drawn at a bounded size and enlarged: a face of 2,000 px costs
as much as one of 256.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import (
    BROW_SIDES,
    EYES,
    LIPS,
    MOUTH,
    NOSE_BASE,
    face_width,
    forehead,
    with_forehead,
)
from shared.imaging.array_types import Image, Mask, Points

DRAWING_WIDTH = 256  # pixels across the face while drawing
WIDE = 10  # pixels from which distances are faster than a dilation by a disc
FRACTION_BITS = 4  # of cv2's polygon coordinates

FACE_MARGIN = 0.045  # face widths that the face mask stays inside the outline
FACE_SOFTNESS = 0.045  # face widths, Gaussian sigma
REGION_MARGIN = 0.25  # face widths around the landmarks; beyond it the masks are 0
LEAST = 1 / 255  # smallest mask value that counts; less changes no level, but converting to LAB and back could
RING_OUT, RING_IN = 0.10, 0.12  # face widths that the ring reaches out of and into the face


def face(
    points: Points,
    size: tuple[int, int],
    margin: float = FACE_MARGIN,
    softness: float = FACE_SOFTNESS,
    top: Points | None = None,
) -> Mask:
    """Return the mask of the face from the chin to the middle of the forehead, (H, W), with a soft border.

    Args:
        points: landmarks, (68, 2), in pixels of the canvas.
        size: height and width of the canvas.
        margin: how far to stay inside the outline, in face widths; negative reaches beyond it.
        softness: sigma of the border, in face widths.
        top: points of the hairline, (N, 2), if they are known; the mask then reaches up to them.
    """
    return soft([_outline(points, top)], points, size, -margin, softness)


def features(points: Points, size: tuple[int, int], growth: float = 0.03, softness: float = 0.025) -> Mask:
    """Return the mask of eyes, brows, lips and tip of the nose: they identify a face and show double when blended."""
    groups = [*_eyes_with_brows(points), points[LIPS], np.vstack([points[NOSE_BASE], points[28:31]])]
    return soft(groups, points, size, growth, softness)


def brows(points: Points, size: tuple[int, int], growth: float = 0.05, softness: float = 0.02) -> Mask:
    """Return the mask of both brows with the hairs around them."""
    return soft([points[side] for side in BROW_SIDES], points, size, growth, softness)


def eyes(points: Points, size: tuple[int, int], growth: float = 0.02, softness: float = 0.012) -> Mask:
    """Return the mask of both eyes with their lids."""
    return soft([points[side] for side in EYES], points, size, growth, softness)


def lips(points: Points, size: tuple[int, int], growth: float = 0.01, softness: float = 0.012) -> Mask:
    """Return the mask of the lips and the opening between them."""
    return soft([points[LIPS]], points, size, growth, softness)


def mouth(points: Points, size: tuple[int, int], growth: float = 0.0, softness: float = 0.008) -> Mask:
    """Return the mask of the mouth's opening, without the lips."""
    return soft([points[MOUTH]], points, size, growth, softness)


def bare(points: Points, size: tuple[int, int], top: Points | None = None) -> Mask:
    """Return the mask of the face without brows, eyes, lips and nostrils: skin, unless hair or glasses cover it.

    `top` is the hairline, as in `face`.
    """
    groups = [points[side] for side in (*BROW_SIDES, *EYES)] + [points[LIPS], points[NOSE_BASE]]
    return face(points, size, 0.06, 0.01, top) * (1 - soft(groups, points, size, 0.035, 0.01))


def edge(points: Points, size: tuple[int, int]) -> Mask:
    """Return the mask for `mask_region: edge`: a ring along the face's outline, the eyes and the lips."""
    outer = face(points, size, -RING_OUT, 0.02)
    inner = face(points, size, RING_IN, 0.02)
    ring: Mask = np.maximum(outer * (1 - inner), np.maximum(eyes(points, size), lips(points, size)))
    return ring


def whole(points: Points, size: tuple[int, int]) -> Mask:
    """Return the mask for `mask_region: face` and for the first diffusion: the face and a little around it."""
    return face(points, size, -RING_OUT, 0.03)


def region(points: Points, size: tuple[int, int], margin: float = REGION_MARGIN) -> tuple[slice, slice]:
    """Return the rows and columns that the face with its forehead covers, and `margin` face widths around it."""
    around = with_forehead(points)
    room = margin * face_width(points)
    left, top = np.maximum(np.floor(around.min(axis=0) - room), 0).astype(int)
    right, bottom = np.ceil(around.max(axis=0) + room).astype(int) + 1
    return slice(int(top), int(min(bottom, size[0]))), slice(int(left), int(min(right, size[1])))


def bounds(mask: Mask | Image, room: float) -> tuple[slice, slice]:
    """Return the rows and columns of a mask, (H, W), outside of which it is 0, and `room` pixels around them."""
    left, top, across, down = cv2.boundingRect((mask > 0).view(np.uint8))
    reach = int(np.ceil(room))
    rows = slice(max(top - reach, 0), min(top + down + reach, mask.shape[0]))
    return rows, slice(max(left - reach, 0), min(left + across + reach, mask.shape[1]))


def _outline(points: Points, top: Points | None) -> Points:
    brow = points[17:27]
    return np.vstack([points[:17], brow, (brow + forehead(points)) / 2 if top is None else top])


def _eyes_with_brows(points: Points) -> list[Points]:
    return [np.vstack([points[brow], points[eye]]) for brow, eye in zip(BROW_SIDES, EYES, strict=True)]


def soft(groups: Sequence[Points], points: Points, size: tuple[int, int], growth: float, softness: float) -> Mask:
    """Return the soft mask, (H, W), of the convex hulls of groups of points.

    Args:
        groups: the points of each hull, (N, 2), in pixels of the canvas.
        points: the face's landmarks, (68, 2), which say how wide the face is.
        size: height and width of the canvas.
        growth: how far the hulls are grown, in face widths; negative shrinks them.
        softness: sigma of the border, in face widths.
    """
    width = face_width(points)
    factor = min(1.0, DRAWING_WIDTH / width)
    small = tuple(max(1, round(side * factor)) for side in size)
    scale = np.array([small[1] / size[1], small[0] / size[0]])
    # uint8 until the blur: growing by a wide kernel takes a quarter of the time that it takes with floats
    canvas = np.zeros(small, np.uint8)
    for group in groups:
        placed = ((group + 0.5) * scale - 0.5) * (1 << FRACTION_BITS)
        hull = cv2.convexHull(np.round(placed).astype(np.int32))
        cv2.fillConvexPoly(canvas, hull, 1, shift=FRACTION_BITS)
    reach = round(abs(growth) * width * factor)
    if reach:
        canvas = grow(canvas, reach) if growth > 0 else _shrink(canvas, reach)
    drawn: Mask = canvas.astype(np.float32)
    if softness > 0:
        drawn = blur(drawn, max(softness * width * factor, 0.3), cv2.BORDER_CONSTANT)
    result: Mask = np.clip(cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    return result


def grow(shape: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Return a shape, 1 inside and 0 outside, (H, W), grown by `reach` pixels; the cost does not grow with them."""
    if reach < WIDE:
        grown: NDArray[np.uint8] = cv2.dilate(shape, _disc(reach), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        return grown
    return np.asarray(cv2.distanceTransform(1 - shape, cv2.DIST_L2, cv2.DIST_MASK_5) <= reach).astype(np.uint8)


def _shrink(shape: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Return a shape, 1 inside and 0 outside, (H, W), shrunk by `reach` pixels, also from the canvas's border."""
    if reach < WIDE:
        shrunk: NDArray[np.uint8] = cv2.erode(shape, _disc(reach), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        return shrunk
    framed = cv2.copyMakeBorder(shape, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    away = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(away > reach)[1:-1, 1:-1].astype(np.uint8)


def _disc(reach: int) -> NDArray[np.uint8]:
    disc: NDArray[np.uint8] = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return disc
