"""Glasses: whether a face wears them, and where their frames are, so that they stay on the face that comes under them.

A bridge crosses the bare root of the nose, where no face has a dark line of little color of its own: that tells
glasses from brows, lashes and wrinkles. The bridge tells what the frame looks like; rims and temples are lines like it.
"""

import cv2
import numpy as np

from functions.generate.face.light import Lab
from functions.generate.glasses import bridge_and_temples, lenses, rims
from functions.generate.glasses.aligned_face import AlignedFace
from functions.generate.glasses.thick_lines import draw_strokes
from shared.imaging.array_types import Image, Mask, Points

ERASED = 0.15  # of a frame's mask, from where it is drawn over
RIM_SHADOW = 0.006  # of the picture's width: what a rim casts onto the skin beside it


def find_frames(lab: Lab, points: Points) -> Mask:
    """Where the frames of the face's glasses are, (H, W); all 0 when it wears none.

    Args:
        lab: (H, W, 3).
        points: (68, 2) of the face, in pixels of `lab`.
    """
    face = AlignedFace.of(lab, points)
    if not bridge_and_temples.has_bridge(face):
        return np.zeros(lab.shape[:2], np.float32)
    root = bridge_and_temples.find_bridge_root(face)
    found = rims.frame_likeness(face, root.depth, root.color)
    both = [rims.trace_rim(face, outline, found) for outline in lenses.fit_lenses(face, found)]
    lines = [rim.middle for rim in both]
    temples = (bridge_and_temples.trace_temple(face, lines[side], side, found) for side in (0, 1))
    bridge = bridge_and_temples.trace_bridge(face, lines, found, rims.color_likeness(face, root.color))
    return draw_strokes([*both, bridge, *temples], face, lab.shape[:2])


def wears_glasses(lab: Lab, points: Points) -> bool:
    """Whether the face wears glasses with a visible frame."""
    return bridge_and_temples.has_bridge(AlignedFace.of(lab, points))


def erase_frames(image: Image, frames: Mask) -> Image:
    """The RGB picture with the skin around them drawn over the frames, (H, W), after Telea (2004)."""
    found = (frames > ERASED).astype(np.uint8)
    reach = 2 * round(RIM_SHADOW * image.shape[1]) + 1
    found = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    without: Image = cv2.inpaint(image, found, reach, cv2.INPAINT_TELEA)
    return without
