"""Make-up transfer: what colors the template's lips, eyelids and cheeks beyond its skin, carried onto the portrait's.

    per region: template's color less its skin's = its make-up;  portrait's less its skin's = what is there already
    the difference, times the ratio, is added to the portrait's region

Relative to each one's skin, so that a pale face gets a dark one's rouge and not its complexion. One color for both
sides of a face, since make-up is symmetrical and light is not. Pores, wrinkles and the gloss of the lips stay the
portrait's own.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.face.landmarks import EYES, face_width
from shared.imaging.array_types import Image, Mask, Points

Color = NDArray[np.float32]
"""LAB, (3,)."""

LIP_SOFTNESS, LID_SOFTNESS, CHEEK_SOFTNESS = 0.008, 0.015, 0.05  # sigmas in face widths
LID_HEIGHT = 0.6  # of the way from the lashes to the brow; there its own hairs begin
CHEEK_RADII = (0.14, 0.10)  # along the cheekbone and across it, in face widths
# the most that a region may change in LAB: lipstick is strong, lids take dark colors, and on cheeks a shadow of the
# template's light is no rouge. Yellow is held short: under warm light lips and lids would turn orange
LIP_LIMIT, LID_LIMIT, CHEEK_LIMIT = (14.0, 28.0, 12.0), (12.0, 8.0, 5.0), (2.0, 10.0, 6.0)
WORKING_WIDTH = 256  # pixels across the face, at which its colors are measured
AROUND = 0.05  # face widths around the face that are worked on; no region reaches out of it
SEEN = 16  # pixels of a region that tell its color


@dataclass(frozen=True, eq=False)
class MakeupRegion:
    """One place that make-up goes to: its mask, (H, W), and the most that it may change, per channel of LAB."""

    where: Mask
    limit: Color


def transfer_makeup(
    image: Image,
    landmarks: Points,
    template: FaceView,
    ratio: float,
    free: Mask,
    frames: Mask,
) -> Image:
    """Carry the template's make-up onto a face.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: (68, 2) of the face in it.
        template: the face that is made up so.
        ratio: 0 to 1; the effect is proportional to it.
        free: (H, W), 0 where nothing may change.
        frames: (H, W), where the face's glasses have their frames.

    Returns:
        RGB, uint8, (H, W, 3), bit-identical to `image` outside of lips, eyelids and cheeks, and all over at ratio 0.
    """
    crop = FaceCrop.of(image, landmarks, AROUND)
    if ratio <= 0 or crop.empty:
        return image.copy()
    allowed = crop.cut(free) * (1 - crop.cut(frames))
    skin, own = _seen(crop, crop.cut(frames))
    there = FaceCrop.of(template.image, template.landmarks)
    _, worn = _seen(there, there.cut(template.frames))
    shift, everywhere = np.zeros_like(crop.lab), np.zeros(crop.size, np.float32)
    for region, seen, wanted in zip(makeup_regions(crop.points, crop.size), own, worn, strict=True):
        if seen is not None and wanted is not None:
            where = region.where * allowed
            change = np.clip(wanted - seen, -region.limit, region.limit)
            shift += where[..., None] * limit_shift(crop.lab, skin + seen + change, change)
            everywhere = np.maximum(everywhere, where)
    return crop.paste(light.to_rgb(crop.lab + ratio * shift), everywhere > masks.LEAST)


def limit_shift(lab: light.Lab, aim: Color, change: Color) -> light.Lab:
    """How each pixel changes where its region changes by `change` and then has the color `aim`, (H, W, 3).

    Tint stops at the aim: what within pale lips is pale already would else turn blue. Lightness does not, its
    differences are the gloss.
    """
    shift: light.Lab = np.clip(aim - lab, np.minimum(change, 0), np.maximum(change, 0))
    shift[..., 0] = change[0]
    return shift


def measure_makeup(crop: FaceCrop, frames: Mask) -> tuple[Color, list[Color | None]]:
    """The skin's color, and how each of `makeup_regions` differs from it; None where it is not seen."""
    clear = 1 - frames
    skin = _color(crop.lab, crop.skin * clear)
    seen = makeup_regions(crop.points, crop.size)
    if skin is None:
        return np.zeros(3, np.float32), [None] * len(seen)
    colors = [_color(crop.lab, region.where * clear) for region in seen]
    return skin, [None if color is None else color - skin for color in colors]


def makeup_regions(points: Points, size: tuple[int, int]) -> list[MakeupRegion]:
    """Lips without what is between them, lids below the brows without eyes, cheeks; masks of (height, width) `size`."""
    lips = masks.lips(points, size, 0, LIP_SOFTNESS) * (1 - masks.mouth(points, size, 0.004))
    lids = masks.soft(_lids(points), points, size, 0, LID_SOFTNESS) * (1 - masks.eyes(points, size, 0.004, 0.006))
    cheeks = masks.soft(_cheeks(points), points, size, 0, CHEEK_SOFTNESS) * masks.bare(points, size)
    limited = ((lips, LIP_LIMIT), (lids, LID_LIMIT), (cheeks, CHEEK_LIMIT))
    return [MakeupRegion(where, np.array(limit, np.float32)) for where, limit in limited]


def _seen(crop: FaceCrop, frames: Mask) -> tuple[Color, list[Color | None]]:
    """Of a face with the frames of its glasses, (h, w), at WORKING_WIDTH."""
    small = crop.scaled(WORKING_WIDTH)
    return measure_makeup(small, cv2.resize(frames, small.size[::-1], interpolation=cv2.INTER_AREA))


def _lids(points: Points) -> list[Points]:
    """From the lashes of each eye towards its brow."""
    lids = []
    for eye, brow in zip(EYES, (slice(18, 22), slice(22, 26)), strict=True):
        lashes = points[eye][:4]  # from corner to corner over the upper edge
        lids.append(np.vstack([lashes, lashes + LID_HEIGHT * (points[brow] - lashes)]))
    return lids


def _cheeks(points: Points) -> list[Points]:
    """An ellipse on each cheekbone, rising towards the ear."""
    width = face_width(points)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    cheeks = []
    for eye, ear, jaw, nostril in ((EYES[0], 2, 4, 31), (EYES[1], 14, 12, 35)):
        middle = (points[eye].mean(axis=0) + points[ear] + points[jaw] + points[nostril]) / 4
        along = (points[ear] - points[nostril]) / np.linalg.norm(points[ear] - points[nostril])
        across = np.array([-along[1], along[0]])
        long, short = CHEEK_RADII[0] * width * np.cos(angles), CHEEK_RADII[1] * width * np.sin(angles)
        cheeks.append(middle + long[:, None] * along + short[:, None] * across)
    return cheeks


def _color(lab: light.Lab, where: Mask) -> Color | None:
    """The median color: teeth, lashes and frames that get into a region do not count."""
    seen = lab[where > 0.5]
    if len(seen) < SEEN:
        return None
    color: Color = np.median(seen, axis=0).astype(np.float32)
    return color
