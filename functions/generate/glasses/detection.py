"""Detect glasses and find their frames, so that the frames stay when the face below them changes.

The bridge crosses the bare root of the nose, where a face without glasses has no dark line of little chroma: this tells
glasses from brows, lashes and wrinkles. The bridge also shows what the frame looks like; rims and temples are lines of
the same look.
"""

import cv2
import numpy as np

from functions.generate.face.light import Lab
from functions.generate.glasses import bridge_and_temples, lenses, rims
from functions.generate.glasses.aligned_face import AlignedFace
from functions.generate.glasses.thick_lines import draw_strokes
from shared.imaging.array_types import Image, Mask, Points

ERASED = 0.15  # value of a frame's mask above which it is erased
RIM_SHADOW = 0.006  # picture widths: width of the shadow of a rim on the skin beside it, which is erased too


def find_frames(lab: Lab, points: Points) -> Mask:
    """Return the mask of the frames of the face's glasses, (H, W); all 0 if it has none.

    Args:
        lab: LAB, (H, W, 3).
        points: the face's landmarks, (68, 2), in pixels of `lab`.
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
    """Return whether the face has glasses with a visible frame; arguments as in `find_frames`."""
    return bridge_and_temples.has_bridge(AlignedFace.of(lab, points))


def erase_frames(image: Image, frames: Mask) -> Image:
    """Return a copy of the RGB picture with the frames, (H, W), filled in from the skin around them.

    Inpainting after Telea (2004).
    """
    found = (frames > ERASED).astype(np.uint8)
    reach = 2 * round(RIM_SHADOW * image.shape[1]) + 1
    found = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    without: Image = cv2.inpaint(image, found, reach, cv2.INPAINT_TELEA)
    return without
