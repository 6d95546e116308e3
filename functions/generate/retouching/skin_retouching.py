"""Skin retouching: evens out blotches and blemishes, keeps pores, hairs and the lines of a face.

    colors --Gaussian, a pore wide--> without pores --bilateral filter--> even, edges kept
    result = colors - the spots - part of the other unevenness, on skin only

Pores are finer than that difference, and edges are not in it.

This is frequency separation as retouchers do it. The lower layer is made by an edge-preserving filter (Tomasi &
Manduchi 1998), so that there are no halos. It is a bilateral and not a guided filter, because a guided filter keeps
every spot in a window that has an edge, as all windows beside a nose or among wrinkles do. All of this is coarser than
pores, so it is computed at WORKING_WIDTH whatever the face's size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import face_width
from functions.generate.face.strips import RowEnlarger, list_patches, repeat
from shared.imaging.array_types import Image, Mask, Points
from shared.imaging.quantization import add_change

WORKING_WIDTH = 192  # pixels across the face; PORES is a little more than one of these pixels
AROUND = 0.08  # face widths around the face in the crop; the skin's mask ends inside it
PORES = 0.006  # sigma in face widths; finer detail is the skin's texture and stays
REACH = 0.025  # sigma of the filter in face widths: blemishes and blotches, not cheeks
TOLERANCE = 10.0  # sum over the channels of LAB; folds and the sides of the nose are steeper
# share of the unevenness beside the spots that is removed: much of it is the person, such as folds, dimples, stubble.
# With 0.75 two recognizers found portraits farther from the person, by 0.005 with large faces, 0.015 with small
EVENING = 0.5
SPOT = 0.09  # face widths; what is longer in any direction is not a blemish
DIRECTIONS = 8
# how much darker than its surroundings a spot is, in lightness: up to the first it is removed, from the second it stays
BLEMISHED, MOLE = (16.0, 28.0)
BLEMISH = 0.025  # sigma in face widths of the blur before skin is recognized, so that small spots count as skin
CERTAIN = 0.02  # face widths that the mask stays away from what is not skin


def retouch_skin(image: Image, landmarks: Points, free: Mask, frames: Mask, evening: float = EVENING) -> Image:
    """Smooth the skin of one face.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: landmarks of the face, (68, 2), in pixels of `image`.
        free: mask, (H, W), 0 where nothing may change.
        frames: mask, (H, W), of the frames of the face's glasses.
        evening: the share of the unevenness beside the spots that is removed.

    Returns:
        RGB, uint8, (H, W, 3); bit-identical to `image` on eyes, brows, lips, nostrils, hair and outside the face.
    """
    crop = FaceCrop.of(image, landmarks, AROUND)
    if crop.empty:
        return image.copy()
    small = crop.scaled(WORKING_WIDTH)
    away, soft = measure_unevenness(small.lab, small.width, evening), skin_mask(small.lab, small.points)
    # in RGB, so that the colors of all pixels need not be converted: they hardly differ from those at the small size
    change = light.to_levels(small.lab - repeat(soft) * away) - light.to_levels(small.lab)
    smooth, free, frames = RowEnlarger(change, crop.size), crop.cut(free), crop.cut(frames)
    result = image.copy()
    target = result[crop.rows, crop.columns]
    for patch in list_patches(soft, crop.size):
        allowed = free[patch] * (1 - frames[patch])
        target[patch] = add_change(crop.image[patch], smooth.cut(*patch) * repeat(allowed))
    return result


def skin_mask(lab: light.Lab, points: Points) -> Mask:
    """Return the soft mask of the face's skin, (H, W).

    It leaves out eyes, brows, lips, nostrils, hair and beard; blemishes count as skin.
    """
    bare = masks.bare(points, lab.shape[:2])
    width = face_width(points)
    reach = 2 * max(1, round(CERTAIN * width / 2)) + 1
    around = blur(lab, max(BLEMISH * width, 0.5))
    alike = cv2.erode(light.skin_likeness(around, bare), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft: Mask = bare * cv2.GaussianBlur(alike, (0, 0), max(CERTAIN * width / 2, 0.5))
    return soft


def measure_unevenness(lab: light.Lab, width: float, evening: float = EVENING) -> light.Lab:
    """Return what retouching subtracts from skin, LAB, (H, W, 3).

    `width` is the face's width in pixels, `evening` the share of the unevenness beside the spots.
    """
    coarse = cv2.GaussianBlur(lab, (0, 0), max(PORES * width, 0.5))
    sigma = max(REACH * width, 1.0)
    spots = cv2.GaussianBlur(find_spots(coarse, width), (0, 0), max(PORES * width, 0.5))
    clear = coarse - spots
    even = cv2.bilateralFilter(clear, 2 * round(2 * sigma) + 1, TOLERANCE, sigma, borderType=cv2.BORDER_REFLECT_101)
    away: light.Lab = spots + evening * (clear - even)
    return away


def find_spots(lab: light.Lab, width: float) -> light.Lab:
    """Return how much darker and redder than their surroundings spots are, LAB, (H, W, 3).

    Spots are smaller than SPOT in every direction. A morphological closing along a line fills valleys that are shorter
    than the line. The minimum of the closings in all directions leaves long valleys such as folds and hairs, since they
    run in one of the directions (Soille & Talbot 2001). Moles are left out: they belong to the person.
    """
    found = np.zeros_like(lab)
    lab = lab - blur(lab, SPOT / 2 * width)  # removes gradients of light, on which a spot would not be a valley
    lines = _line_kernels(max(3, round(SPOT * width)))
    found[..., 0] = -_fill_valleys(lab[..., 0], lines)
    found[..., 1] = _fill_valleys(-lab[..., 1], lines)
    reach = 2 * max(1, round(SPOT * width / 2)) + 1
    depth = cv2.dilate(-found[..., 0], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    found *= np.clip((MOLE - depth) / (MOLE - BLEMISHED), 0, 1)[..., None]
    return found


def _fill_valleys(plane: light.Lightness, lines: list[NDArray[np.uint8]]) -> light.Lightness:
    """Return how much the closings fill the plane's short valleys, (H, W)."""
    closed = np.minimum.reduce([cv2.morphologyEx(plane, cv2.MORPH_CLOSE, line) for line in lines])
    filled: light.Lightness = closed - plane
    return filled


def _line_kernels(length: int) -> list[NDArray[np.uint8]]:
    """Return kernels of a line through the middle of a square, one for each of DIRECTIONS."""
    side = length | 1
    middle, half = side // 2, length / 2
    lines = []
    for angle in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
        x, y = round(half * np.cos(angle)), round(half * np.sin(angle))
        line = np.zeros((side, side), np.uint8)
        cv2.line(line, (middle - x, middle - y), (middle + x, middle + y), 1)
        lines.append(line)
    return lines
