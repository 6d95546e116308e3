"""Make-up transfer: carry the color of the template's lips, eyelids and cheeks onto the portrait, relative to the skin.

    for each region of lips, eyelids, cheeks:
        wanted = the template's color of the region - the template's skin color     (its make-up)
        seen   = the portrait's color of the region - the portrait's skin color     (what it has already)
        the portrait's region += ratio * (wanted - seen), within limits

The colors are relative to each face's skin, so that a pale face gets a dark face's rouge but not its complexion. Both
sides of a face get one color, since make-up is symmetric and light is not. The portrait keeps its pores, its wrinkles
and the gloss of its lips.
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
LID_HEIGHT = 0.6  # share of the way from the lashes to the brow; the brow's hairs begin there
CHEEK_RADII = (0.14, 0.10)  # along the cheekbone and across it, in face widths
# largest change of a region in LAB: lipstick is strong, lids take dark colors, and a shadow on the template's cheeks is
# not rouge. Yellow is limited most: under warm light, lips and lids would turn orange
LIP_LIMIT, LID_LIMIT, CHEEK_LIMIT = (14.0, 28.0, 12.0), (12.0, 8.0, 5.0), (2.0, 10.0, 6.0)
WORKING_WIDTH = 256  # pixels across the face at which colors are measured
AROUND = 0.05  # face widths around the face in the crop; no region reaches beyond it
SEEN = 16  # pixels of a region from which its color can be measured


@dataclass(frozen=True, eq=False)
class MakeupRegion:
    """A region that has make-up.

    Attributes:
        where: its mask, (H, W).
        limit: the largest change, per channel of LAB, (3,).
    """

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
        landmarks: landmarks of the face, (68, 2), in pixels of `image`.
        template: the face whose make-up is carried over.
        ratio: 0 to 1; the effect is proportional to it.
        free: mask, (H, W), 0 where nothing may change.
        frames: mask, (H, W), of the frames of the face's glasses.

    Returns:
        RGB, uint8, (H, W, 3); bit-identical to `image` outside lips, eyelids and cheeks, and everywhere at ratio 0.
    """
    crop = FaceCrop.of(image, landmarks, AROUND)
    if ratio <= 0 or crop.empty:
        return image.copy()
    allowed = crop.cut(free) * (1 - crop.cut(frames))
    skin, own = _measure_reduced(crop, crop.cut(frames))
    there = FaceCrop.of(template.image, template.landmarks)
    _, theirs = _measure_reduced(there, there.cut(template.frames))
    shift, everywhere = np.zeros_like(crop.lab), np.zeros(crop.size, np.float32)
    for region, seen, wanted in zip(makeup_regions(crop.points, crop.size), own, theirs, strict=True):
        if seen is not None and wanted is not None:
            where = region.where * allowed
            change = np.clip(wanted - seen, -region.limit, region.limit)
            shift += where[..., None] * limit_shift(crop.lab, skin + seen + change, change)
            everywhere = np.maximum(everywhere, where)
    return crop.paste(light.to_rgb(crop.lab + ratio * shift), everywhere > masks.LEAST)


def limit_shift(lab: light.Lab, aim: Color, change: Color) -> light.Lab:
    """Return the change of each pixel in a region, (H, W, 3), LAB.

    The tint of a pixel changes only until it reaches the aim: without that limit, a pixel that is paler than the rest
    of the lips would turn blue when the lips get paler. Lightness changes by the same amount everywhere, since its
    differences are the gloss.

    Args:
        lab: the face, (H, W, 3).
        aim: the color of the region after the change.
        change: the change of the region's color.
    """
    shift: light.Lab = np.clip(aim - lab, np.minimum(change, 0), np.maximum(change, 0))
    shift[..., 0] = change[0]
    return shift


def measure_makeup(crop: FaceCrop, frames: Mask) -> tuple[Color, list[Color | None]]:
    """Return the skin's color, and the color of each of `makeup_regions` minus it; None for a region that is hidden.

    Args:
        crop: the face.
        frames: mask, (h, w), of the frames of its glasses, which are not measured.
    """
    clear = 1 - frames
    skin = _color(crop.lab, crop.skin * clear)
    seen = makeup_regions(crop.points, crop.size)
    if skin is None:
        return np.zeros(3, np.float32), [None] * len(seen)
    colors = [_color(crop.lab, region.where * clear) for region in seen]
    return skin, [None if color is None else color - skin for color in colors]


def makeup_regions(points: Points, size: tuple[int, int]) -> list[MakeupRegion]:
    """Return the regions that have make-up, with masks of (height, width) `size`.

    They are the lips without the opening between them, the lids below the brows without the eyes, and the cheeks.
    """
    lips = masks.lips(points, size, 0, LIP_SOFTNESS) * (1 - masks.mouth(points, size, 0.004))
    lids = masks.soft(_lids(points), points, size, 0, LID_SOFTNESS) * (1 - masks.eyes(points, size, 0.004, 0.006))
    cheeks = masks.soft(_cheeks(points), points, size, 0, CHEEK_SOFTNESS) * masks.bare(points, size)
    limited = ((lips, LIP_LIMIT), (lids, LID_LIMIT), (cheeks, CHEEK_LIMIT))
    return [MakeupRegion(where, np.array(limit, np.float32)) for where, limit in limited]


def _measure_reduced(crop: FaceCrop, frames: Mask) -> tuple[Color, list[Color | None]]:
    """Measure the make-up of a face reduced to WORKING_WIDTH; see `measure_makeup`."""
    small = crop.scaled(WORKING_WIDTH)
    return measure_makeup(small, cv2.resize(frames, small.size[::-1], interpolation=cv2.INTER_AREA))


def _lids(points: Points) -> list[Points]:
    """Return the outline of each lid: from the lashes of the eye towards its brow."""
    lids = []
    for eye, brow in zip(EYES, (slice(18, 22), slice(22, 26)), strict=True):
        lashes = points[eye][:4]  # from corner to corner over the upper edge
        lids.append(np.vstack([lashes, lashes + LID_HEIGHT * (points[brow] - lashes)]))
    return lids


def _cheeks(points: Points) -> list[Points]:
    """Return an ellipse on each cheekbone, rising towards the ear, (24, 2) each."""
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
    """Return the median color, (3,), so that teeth, lashes and frames do not count; None if too little is visible."""
    seen = lab[where > 0.5]
    if len(seen) < SEEN:
        return None
    color: Color = np.median(seen, axis=0).astype(np.float32)
    return color
