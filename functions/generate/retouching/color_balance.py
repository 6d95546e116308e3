"""Color balance: give the skin of a face the color of the template's skin."""

import cv2
import numpy as np

from functions.generate.face import masks
from functions.generate.face.color_change import fit_change
from functions.generate.face.crop import FaceCrop
from functions.generate.face.strips import RowEnlarger, list_patches
from shared.imaging.array_types import Image, Mask, Points

SHIFT_LIMIT = np.array([14.0, 10.0, 10.0], np.float32)  # LAB; small, since the fusion has done most of the matching
CONTRAST = (0.92, 1.08)  # bounds of the factor on the spread of the lightness


def balance_color(
    image: Image, landmarks: Points, template: FaceCrop, editable: Mask, skin_only: bool, contrast: float = 1.0
) -> Image:
    """Give a face the mean color and the contrast of the template's skin, within bounds.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: landmarks of the face, (68, 2), in pixels of `image`.
        template: the template's face.
        editable: mask, (H, W), 0 where nothing may change.
        skin_only: leave eyes and lips as they are; balancing them like the skin gives orange lips.
        contrast: share of the change of contrast that is made, 0 to 1.

    Returns:
        RGB, uint8, (H, W, 3); bit-identical to `image` outside the face.

    Reinhard et al., "Color transfer between images" (2001), restricted to what looks like skin in both pictures.
    """
    crop = FaceCrop.of(image, landmarks)
    if crop.empty:
        return image.copy()
    mean, spread = crop.skin_tone
    wanted_mean, wanted_spread = template.skin_tone
    if spread == 0 or wanted_spread == 0:
        return image.copy()
    shift = np.clip(wanted_mean - mean, -SHIFT_LIMIT, SHIFT_LIMIT)
    wider = 1 + contrast * (float(np.clip(wanted_spread / spread, *CONTRAST)) - 1)
    factor = np.array([wider, 1, 1], np.float32)
    small, where = crop.small, crop.small.face
    if skin_only:
        where = where * (1 - np.maximum(masks.eyes(small.points, small.size), masks.lips(small.points, small.size)))
    change_of = np.column_stack([np.diag(factor - 1), mean * (1 - factor) + shift])  # of a color, LAB and 1
    to_balanced = np.eye(3, 4) + fit_change(small, where, change_of)
    result, allowed, soft = image.copy(), crop.cut(editable), RowEnlarger(where, crop.size)
    target = result[crop.rows, crop.columns]
    for patch in list_patches(where, crop.size):
        share = soft.cut(*patch) * allowed[patch]
        if share.any():
            before = crop.image[patch]
            # equal to `before` where the share is 0
            target[patch] = cv2.blendLinear(cv2.transform(before, to_balanced), before, share, 1 - share)
    return result
