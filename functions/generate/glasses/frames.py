"""The frames of glasses: told from bare faces, found, so that they stay when the face below them changes, and erased.

A small network says which pixels of an aligned face are a frame's. It was shown frames of all kinds, and brows, lashes,
wrinkles and shadows, which are none.
"""

import cv2
import numpy as np

from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.guided_filter import guided_filter
from functions.generate.glasses.aligned_face import SIZE, WIDTH, align, planes, transform
from functions.generate.glasses.network import load_network
from shared.faces.antialiased_warp import warp_antialiased
from shared.imaging.array_types import Image, Mask, Points

# share from which a pixel surely is a frame's, and down to which the frame goes on from there: a rim of thin wire, or
# one as pale as the skin, is doubtful on most of its way
SURE, POSSIBLE = 0.5, 0.04
BESIDE = 2  # pixels of the network's canvas beside a sure pixel that are its soft edge
# pixels of the network's canvas that surely are a frame's: on 176 portraits with glasses 61 to 1,500, 0 on two; on all
# 638 without 0 (benchmarks/glasses.py). On other bare faces, in the light that the picture has, 24 at most
LEAST = 50
# radius in pixels of that canvas within which an edge of the mask moves to one of the picture, and levels of lightness
# that make one. Of 1, 1.5 and 2 pixels and 3, 8 and 15 levels the best on painted glasses of 230 to 1,100 pixels
NEAR, EDGE = 1.5, 3.0
ERASED = 0.15  # value of a frame's mask above which it is erased
RIM_SHADOW = 0.006  # picture widths: width of the shadow of a rim on the skin beside it, which is erased too


def find_frames(image: Image, landmarks: Points) -> Mask:
    """Return the mask of the frames of the face's glasses, (H, W); all 0 if it has none.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: the face's landmarks, (68, 2), in pixels of the image.
    """
    frames, crop = np.zeros(image.shape[:2], np.float32), FaceCrop.of(image, landmarks)
    share = measure_frames(crop)
    if _count_sure(share) >= LEAST:
        frames[crop.rows, crop.columns] = _enlarge(_fill_faint(_connect(share)), crop)
    return frames


def wears_glasses(image: Image, landmarks: Points) -> bool:
    """Return whether the face has glasses with a visible frame; arguments as in `find_frames`."""
    return _count_sure(measure_frames(FaceCrop.of(image, landmarks))) >= LEAST


def measure_frames(crop: FaceCrop) -> Mask:
    """Return the share of frames in each pixel of the network's canvas, 0 to 1, SIZE; 0 if the crop is empty."""
    if crop.empty:
        return np.zeros(SIZE, np.float32)
    small = crop.scaled(SIZE[1])  # a large face is reduced before it is drawn on the canvas
    matrix = align(small.points)
    canvas = warp_antialiased(small.image, matrix, SIZE, border=cv2.BORDER_CONSTANT)
    return load_network()(planes(canvas, transform(small.points, matrix)))


def erase_frames(image: Image, frames: Mask) -> Image:
    """Return a copy of the RGB picture with the frames, (H, W), filled in from the skin around them.

    Inpainting after Telea (2004).
    """
    found = (frames > ERASED).astype(np.uint8)
    reach = 2 * round(RIM_SHADOW * image.shape[1]) + 1
    found = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    without: Image = cv2.inpaint(image, found, reach, cv2.INPAINT_TELEA)
    return without


def _count_sure(share: Mask) -> int:
    return int(np.count_nonzero(share > SURE))


def _connect(share: Mask) -> Mask:
    """Return the share, SIZE, where it is possible and connected with what is sure (Canny 1986); 0 elsewhere."""
    _, pieces = cv2.connectedComponents((share > POSSIBLE).astype(np.uint8), connectivity=8)
    connected: Mask = share * (np.isin(pieces, pieces[share > SURE]) & (pieces > 0))
    return connected


def _fill_faint(share: Mask) -> Mask:
    """Return the mask of frames of a share, SIZE: 1 from SURE on, and more than the share where only a faint rim is.

    A rim as pale as the skin is doubtful on a long way: half of it kept, it would be seen as cut. Beside what is sure
    the share is the frame's soft edge, and stays.
    """
    mask = np.minimum(share / SURE, 1)
    beside = cv2.dilate((share > SURE).astype(np.uint8), np.ones((2 * BESIDE + 1, 2 * BESIDE + 1), np.uint8)) > 0
    filled: Mask = np.where(beside, mask, np.sqrt(mask)).astype(np.float32)
    return filled


def _enlarge(share: Mask, crop: FaceCrop) -> Mask:
    """Return a mask of the network's canvas, SIZE, as one of the crop, (h, w), with the picture's edges."""
    back = cv2.invertAffineTransform(align(crop.points))
    frames = np.clip(warp_antialiased(share, back, crop.size, border=cv2.BORDER_CONSTANT), 0, 1)
    reach = NEAR * crop.width / WIDTH
    if reach > NEAR:
        part = masks.bounds(frames, 2 * reach)
        guide = cv2.cvtColor(crop.image[part], cv2.COLOR_RGB2GRAY).astype(np.float32)
        frames[part] = np.clip(2 * guided_filter(frames[part], guide, reach, EDGE) - 0.5, 0, 1)
    return frames
