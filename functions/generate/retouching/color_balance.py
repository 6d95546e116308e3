"""Colour balance: the skin of a face gets the template's colour."""

import numpy as np

from functions.generate.face import light, masks
from shared.imaging.array_types import Image, Mask, Points

SHIFT_LIMIT = np.array([14.0, 10.0, 10.0], np.float32)  # a balance, not a repaint: the fusion has done the rest
CONTRAST = (0.92, 1.08)  # bounds of the factor on the lightness' spread


def balance(
    image: Image, landmarks: Points, template: Image, template_landmarks: Points, free: Mask, skin_only: bool
) -> Image:
    """Give a face the mean colour and, within bounds, the contrast that the template's face has on its skin.

    Args:
        image, template: RGB, uint8, (H, W, 3), the same crop of the result and of the template.
        landmarks, template_landmarks: (68, 2) of the face in each.
        free: (H, W), 0 where nothing may change.
        skin_only: leave eyes and lips as they are; balancing these with the skin gives orange lips.

    Returns:
        RGB, uint8, (H, W, 3), bit-identical to `image` outside of the face.

    Reinhard et al., "Color transfer between images" (2001), restricted to what looks like skin in both pictures.
    """
    size = image.shape[:2]
    rows, columns = masks.region(landmarks, size)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return image.copy()
    part, offset = image[rows, columns], np.array([columns.start, rows.start])
    result = light.to_lab(part)
    mean, spread = _skin(result, landmarks - offset)
    wanted_rows, wanted_columns = masks.region(template_landmarks, size)
    wanted = light.to_lab(template[wanted_rows, wanted_columns])
    wanted_mean, wanted_spread = _skin(wanted, template_landmarks - np.array([wanted_columns.start, wanted_rows.start]))
    if spread == 0 or wanted_spread == 0:
        return image.copy()
    shift = np.clip(wanted_mean - mean, -SHIFT_LIMIT, SHIFT_LIMIT)
    factor = np.array([np.clip(wanted_spread / spread, *CONTRAST), 1, 1], np.float32)
    balanced = (result - mean) * factor + mean + shift
    soft = masks.face(landmarks - offset, part.shape[:2]) * free[rows, columns]
    if skin_only:
        own = [masks.eyes(landmarks - offset, part.shape[:2]), masks.lips(landmarks - offset, part.shape[:2])]
        soft = soft * (1 - np.maximum(*own))
    mixed = light.to_rgb(result + soft[..., None] * (balanced - result))
    done = image.copy()
    done[rows, columns] = np.where(soft[..., None] > 0, mixed, part)
    return done


def _skin(lab: light.Lab, landmarks: Points) -> tuple[light.Lab, float]:
    """Mean colour (3,) and spread of the lightness of the face's skin; spread 0 where no skin shows."""
    where = masks.bare(landmarks, lab.shape[:2])
    weight = where * light.skin(lab, where)
    total = float(weight.sum())
    if total < 1:
        return np.zeros(3, np.float32), 0.0
    mean = (lab * weight[..., None]).sum(axis=(0, 1)) / total
    spread = float(np.sqrt((weight * np.square(lab[..., 0] - mean[0])).sum() / total))
    return mean.astype(np.float32), spread
