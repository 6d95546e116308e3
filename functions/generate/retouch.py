"""Skin retouching: evens out blotches and blemishes, keeps pores, hairs and the lines of a face.

    lightness --Gaussian, a pore wide--> without pores --guided filter--> even, edges kept
    what lies between the last two, on skin only, is taken away in part; pores lie above it, edges are not in it

Frequency separation as retouchers do it, with an edge-keeping filter for the lower layer, so that there are no halos.
"""

import cv2
import numpy as np

from functions.generate import light, mask
from functions.generate.guided import guided
from functions.generate.landmarks import face_width
from shared.images import Image, Mask, Points

PORES = 0.006  # sigma in face widths; finer detail is the skin's texture and stays
REACH = 0.035  # radius of the filter in face widths: blemishes and blotches, not cheeks
TOLERANCE = 7.0  # levels of lightness; folds and the sides of the nose are steeper than that
COLOUR_TOLERANCE = 5.0  # of a and b, where redness is
EVENING = 0.75  # share of the unevenness in lightness that goes; 1 looks like plastic
COLOUR_EVENING = 0.6
BLEMISH = 0.025  # sigma in face widths of what is looked at to tell skin: a spot smaller than that is skin all the same
CERTAIN = 0.02  # face widths that the mask stays away from what is no skin


def retouch(image: Image, landmarks: Points, free: Mask, frames: Mask) -> Image:
    """Smooth the skin of one face.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: (68, 2) of the face.
        free: (H, W), 0 where nothing may change.
        frames: (H, W), where the face's glasses have their frames.

    Returns:
        RGB, uint8, (H, W, 3), bit-identical to `image` on eyes, brows, lips, nostrils, hair and outside of the face.
    """
    rows, columns = mask.region(landmarks, image.shape[:2])
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return image.copy()
    part, points = image[rows, columns], landmarks - np.array([columns.start, rows.start])
    lab = light.to_lab(part)
    soft = skin_mask(lab, points) * free[rows, columns] * (1 - frames[rows, columns])
    even = light.to_rgb(lab - soft[..., None] * unevenness(lab, face_width(points)))
    done = image.copy()
    done[rows, columns] = np.where(soft[..., None] > mask.LEAST, even, part)
    return done


def skin_mask(lab: light.Lab, points: Points) -> Mask:
    """The face's skin, (H, W), soft: no eyes, brows, lips, nostrils, and no hair or beard on it; blemishes are skin."""
    bare = mask.bare(points, lab.shape[:2])
    width = face_width(points)
    reach = 2 * max(1, round(CERTAIN * width / 2)) + 1
    around = cv2.GaussianBlur(lab, (0, 0), max(BLEMISH * width, 0.5))
    alike = cv2.erode(light.skin(around, bare), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft: Mask = bare * cv2.GaussianBlur(alike, (0, 0), max(CERTAIN * width / 2, 0.5))
    return soft


def unevenness(lab: light.Lab, width: float) -> light.Lab:
    """What retouching takes away where there is skin, (H, W, 3); `width` of the face in pixels."""
    sigma, radius = max(PORES * width, 0.5), max(REACH * width, 2)
    coarse = cv2.GaussianBlur(lab, (0, 0), sigma)
    lightness = np.ascontiguousarray(coarse[..., 0])
    away = np.empty_like(lab)
    away[..., 0] = EVENING * (lightness - guided(lightness, lightness, radius, TOLERANCE))
    for channel in (1, 2):
        plane = np.ascontiguousarray(coarse[..., channel])
        away[..., channel] = COLOUR_EVENING * (plane - guided(plane, plane, radius, COLOUR_TOLERANCE))
    return away
