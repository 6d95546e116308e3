"""Skin retouching: evens out blotches and blemishes, keeps pores, hairs and the lines of a face.

    colors --Gaussian, a pore wide--> without pores --bilateral filter--> even, edges kept
    what lies between the last two, on skin only, is taken away in part; pores lie above it, edges are not in it

Frequency separation as retouchers do it, with an edge-keeping filter (Tomasi & Manduchi 1998) for the lower layer, so
that there are no halos. Bilateral and not guided: that one keeps every spot that lies in a window with an edge, and
beside a nose or among wrinkles each does. All of it is lower than pores and is done at WORKING_WIDTH, at any size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import face_width
from shared.imaging.array_types import Image, Mask, Points

WORKING_WIDTH = 192  # pixels across the face; PORES is a little more than one of them
AROUND = 0.08  # face widths around the face that are looked at; the skin's mask ends inside of it
PORES = 0.006  # sigma in face widths; finer detail is the skin's texture and stays
REACH = 0.025  # sigma of the filter in face widths: blemishes and blotches, not cheeks
TOLERANCE = 10.0  # sum over the channels of LAB; folds and the sides of the nose are steeper than that
EVENING = 0.75  # share of the unevenness that goes; 1 looks like plastic
SPOT = 0.09  # face widths; what is longer in some direction is no blemish
DIRECTIONS = 8
BLEMISHED, MOLE = (
    16.0,
    28.0,
)  # levels of lightness that a spot is darker by: up to the first it goes, from the second stays
BLEMISH = 0.025  # sigma in face widths of what is looked at to tell skin: a spot smaller than that is skin all the same
CERTAIN = 0.02  # face widths that the mask stays away from what is no skin


def retouch_skin(image: Image, landmarks: Points, free: Mask, frames: Mask) -> Image:
    """Smooth the skin of one face.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: (68, 2) of the face.
        free: (H, W), 0 where nothing may change.
        frames: (H, W), where the face's glasses have their frames.

    Returns:
        RGB, uint8, (H, W, 3), bit-identical to `image` on eyes, brows, lips, nostrils, hair and outside of the face.
    """
    crop = FaceCrop.of(image, landmarks, AROUND)
    if crop.empty:
        return image.copy()
    small = crop.scaled(WORKING_WIDTH)
    away, soft = measure_unevenness(small.lab, small.width), skin_mask(small.lab, small.points)
    if small.size != crop.size:
        away = cv2.resize(away, crop.size[::-1], interpolation=cv2.INTER_LINEAR)
        soft = cv2.resize(soft, crop.size[::-1], interpolation=cv2.INTER_LINEAR)
    soft = soft * (crop.cut(free) * (1 - crop.cut(frames)))
    even = light.to_rgb(crop.lab - soft[..., None] * away)
    return crop.paste(even, soft > masks.LEAST)


def skin_mask(lab: light.Lab, points: Points) -> Mask:
    """The face's skin, (H, W), soft: no eyes, brows, lips, nostrils, and no hair or beard on it; blemishes are skin."""
    bare = masks.bare(points, lab.shape[:2])
    width = face_width(points)
    reach = 2 * max(1, round(CERTAIN * width / 2)) + 1
    around = blur(lab, max(BLEMISH * width, 0.5))
    alike = cv2.erode(light.skin_likeness(around, bare), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft: Mask = bare * cv2.GaussianBlur(alike, (0, 0), max(CERTAIN * width / 2, 0.5))
    return soft


def measure_unevenness(lab: light.Lab, width: float) -> light.Lab:
    """What retouching takes away where there is skin, (H, W, 3); `width` of the face in pixels."""
    coarse = cv2.GaussianBlur(lab, (0, 0), max(PORES * width, 0.5))
    sigma = max(REACH * width, 1.0)
    clear = coarse - cv2.GaussianBlur(find_spots(coarse, width), (0, 0), max(PORES * width, 0.5))
    even = cv2.bilateralFilter(clear, 2 * round(2 * sigma) + 1, TOLERANCE, sigma, borderType=cv2.BORDER_REFLECT_101)
    away: light.Lab = EVENING * (coarse - even)
    return away


def find_spots(lab: light.Lab, width: float) -> light.Lab:
    """How much darker and redder than what is around them the spots are that are smaller than SPOT in every direction.

    A closing along a line fills what is shorter than it; the least of the closings in all directions leaves lines, as
    folds and hairs are, since one of the directions is theirs (Soille & Talbot 2001). Moles stay, they are somebody's.
    """
    found = np.zeros_like(lab)
    lab = lab - blur(lab, SPOT / 2 * width)  # on a slope of light a spot is no valley
    lines = _lines(max(3, round(SPOT * width)))
    found[..., 0] = -_filled(lab[..., 0], lines)
    found[..., 1] = _filled(-lab[..., 1], lines)
    reach = 2 * max(1, round(SPOT * width / 2)) + 1
    depth = cv2.dilate(-found[..., 0], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    found *= np.clip((MOLE - depth) / (MOLE - BLEMISHED), 0, 1)[..., None]
    return found


def _filled(plane: light.Lightness, lines: list[NDArray[np.uint8]]) -> light.Lightness:
    """How much the plane's short valleys are filled."""
    closed = np.minimum.reduce([cv2.morphologyEx(plane, cv2.MORPH_CLOSE, line) for line in lines])
    filled: light.Lightness = closed - plane
    return filled


def _lines(length: int) -> list[NDArray[np.uint8]]:
    """Segments through the middle of a square, DIRECTIONS of them."""
    side = length | 1
    middle, half = side // 2, length / 2
    lines = []
    for angle in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
        x, y = round(half * np.cos(angle)), round(half * np.sin(angle))
        line = np.zeros((side, side), np.uint8)
        cv2.line(line, (middle - x, middle - y), (middle + x, middle + y), 1)
        lines.append(line)
    return lines
