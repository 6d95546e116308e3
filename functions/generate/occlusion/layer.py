"""The objects before a face as a layer: lifted off before the stages, put back unchanged after them.

    picture = share x object + (1 - share) x face       what the camera saw
    cleared                                             the picture with skin painted where objects are
    result  = picture + (1 - share) x (changed - cleared)

Where an object covers a pixel entirely, the result is the picture's pixel, bit by bit. On its soft edge only the face's
part of the pixel changes, so no rim of the old face is left around the object. And as the stages work on the cleared
face, neither its colors nor its sharpness are measured on the object.

Hair on the forehead and at the temples has no exact edge. Skin painted there would be taken for the face's, and drawn
between the strands. So there an object is not lifted: it, and a little around it, stays as it is.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import with_forehead
from functions.generate.face.strips import RowEnlarger, copy_where, list_strips, repeat
from functions.generate.face.working_size import WorkingSize
from functions.generate.occlusion.hairline import hanging
from shared.imaging.array_types import Image, Mask, Points
from shared.imaging.quantization import add_change, round_to_levels

AROUND = 0.015  # face widths around an object whose colors are not trusted: its edge, its reflections
BESIDE = 0.12  # face widths around the outline in which skin is painted
LEAST_SKIN = 0.02  # weight of what does not look like skin, which counts where nothing else is near
REACHES = (0.02, 0.05, 0.12, 0.4, 1.2)  # sigmas in face widths at which skin is looked for beside a hole
ENOUGH = 0.05  # weight of the skin from which its mean counts
STRIP, ROWS = 16, 512  # rows of each strip in which the grain is measured, and about how many of a large face in all
GRAIN_SEED = 15  # fixed, so that every run paints the same
# face widths: around a face in which something may move; around an object that leaves it, in which nothing does; sigma
# over which that fades; and sigma of the outline that divides inside from outside
MOVING, HELD, FADING, OUTLINE = 0.8, 0.32, 0.06, 0.03
# face widths: around an object where hair hangs, in which nothing changes; sigma over which that fades; size of gaps
# in it that are strands, too
HAIRLINE, HAIR_FADING, GAP = 0.02, 0.04, 0.03
WORKING_WIDTH = 256  # pixels across the face at which that is computed; it is smooth


@dataclass(frozen=True, eq=False)
class OccluderLayer:
    """What lies before a face.

    Attributes:
        picture: what the camera saw, RGB, uint8, (H, W, 3).
        share: how much of each pixel the objects cover, 0 to 1, (H, W).
        cleared: the picture without the objects, RGB, uint8, (H, W, 3).
    """

    picture: Image
    share: Mask
    cleared: Image

    @classmethod
    def of(cls, picture: Image, landmarks: Points, share: Mask) -> "OccluderLayer":
        """Lift the objects that cover `share` off the face at `landmarks`, (68, 2)."""
        return cls(picture, share, clear(picture, landmarks, share) if share.any() else picture)

    @cached_property
    def empty(self) -> bool:
        """Whether nothing lies before the face."""
        return not self.share.any()

    def put_back(self, changed: Image) -> Image:
        """Return the cleared picture as the stages changed it, RGB, uint8, (H, W, 3), with the objects before it."""
        if self.empty:
            return changed
        part, result = masks.bounds(self.share, 0.0), changed.copy()
        free, seen, cleared, target = 1 - self.share[part], self.picture[part], self.cleared[part], result[part]
        for rows in list_strips(target.shape):
            mixed = cv2.subtract(target[rows], cleared[rows], dtype=cv2.CV_32F) * repeat(free[rows])
            copy_where(add_change(seen[rows], mixed), free[rows] < 1, target[rows])
        return result

    def movable(self, landmarks: Points) -> Mask:
        """Return the mask, (H, W), that is 0 around objects where they leave the face and where hair hangs, else 1.

        What moves with a face would bend them: inside the face they are put back, outside of it they are not.
        """
        free = np.ones(self.share.shape, np.float32)
        crop = FaceCrop.of(self.picture, landmarks, margin=MOVING)
        if self.empty or crop.empty:
            return free
        working = WorkingSize.of(crop.size, crop.width, WORKING_WIDTH)
        points, width = working.place(crop.points), min(crop.width, WORKING_WIDTH)
        outside = 1 - masks.soft([with_forehead(points)], points, working.small, 0.0, OUTLINE)
        covered = (working.reduce(crop.cut(self.share)) > 0.5).astype(np.uint8)
        near = masks.grow(covered * (outside > 0.1), round(HELD * width)).astype(np.float32)
        hair = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, _disc(GAP * width))
        hair = masks.grow(hair, round(HAIRLINE * width)).astype(np.float32)
        hair = blur(hair, HAIR_FADING * width) * hanging(points, working.small)
        held = np.maximum(blur(near, FADING * width) * outside, hair)
        free[crop.rows, crop.columns] = working.enlarge(1 - np.clip(held, 0, 1))
        return free


def clear(picture: Image, landmarks: Points, share: Mask) -> Image:
    """Paint the face's skin where objects are; nobody sees it but the stages, and the eye at the objects' soft edges.

    Where hair hangs, nothing is painted.

    Args:
        picture: RGB, uint8, (H, W, 3).
        landmarks: (68, 2), in pixels of the picture.
        share: how much of each pixel objects cover, (H, W).

    Returns:
        RGB, uint8, (H, W, 3); equal to the picture where nothing is covered.
    """
    crop = FaceCrop.of(picture, landmarks)
    small, hole = crop.small, crop.cut(share) > 0
    covered = (crop.working.reduce(hole.astype(np.float32)) > 0).astype(np.uint8)
    near = cv2.dilate(covered, _disc(AROUND * small.width)) > 0
    seen = (masks.face(small.points, small.size, 0.03, 0.0) > 0.5) & ~near
    inside = hole & (masks.soft([with_forehead(crop.points)], crop.points, crop.size, BESIDE, 0.02) > 0)
    inside &= crop.enlarge(hanging(small.points, small.size)) < 0.5
    if not inside.any():
        return picture
    part = rows, columns = masks.bounds(inside.view(np.uint8), 0.0)
    skin, result = RowEnlarger(_paint_skin(small, seen), crop.size), picture.copy()
    target = result[crop.rows, crop.columns][part]
    grain = _draw_grain(crop, seen, target.shape[:2])
    for strip in list_strips(target.shape):
        painted = skin.cut(slice(rows.start + strip.start, rows.start + strip.stop), columns) + repeat(grain[strip])
        copy_where(round_to_levels(painted), inside[part][strip], target[strip])
    return result


def _paint_skin(crop: FaceCrop, seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the colors of the skin nearby, (h, w, 3), in levels, of the pixels that are `seen`, (h, w)."""
    weight = (seen * (LEAST_SKIN + (1 - LEAST_SKIN) * crop.skin)).astype(np.float32)
    colors = crop.image.astype(np.float32)
    painted, missing, weighted = np.zeros_like(colors), np.ones(crop.size, np.float32), colors * repeat(weight)
    for reach in REACHES:
        total = blur(weight, reach * crop.width)
        trust = np.clip(total * np.float32(1 / ENOUGH), 0, 1) * missing
        painted += repeat(trust / np.maximum(total, 1e-6)) * blur(weighted, reach * crop.width)
        missing -= trust
    if seen.any():
        painted += repeat(missing) * np.median(crop.image[seen], axis=0).astype(np.float32)
    return painted


def _draw_grain(crop: FaceCrop, seen: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return noise of that size, (h, w), as strong as the finest detail of the skin, in levels.

    `seen` are the pixels of the skin at the crop's working size.
    """
    skin, fine = RowEnlarger(seen.astype(np.float32), crop.size), []
    for top in range(0, crop.size[0], STRIP * max(1, crop.size[0] // ROWS)):
        rows = slice(top, min(top + STRIP, crop.size[0]))
        gray = cv2.transform(crop.image[rows].astype(np.float32), np.full((1, 3), 1 / 3))
        gray -= cv2.GaussianBlur(gray, (0, 0), 1.5)
        fine.append(np.abs(gray[skin.cut(rows) > 0.5]))
    found = np.concatenate(fine)
    strength = np.float32(1.48 * np.median(found)) if found.size else np.float32(0)
    return strength * np.random.default_rng(GRAIN_SEED).standard_normal(size, np.float32)


def _disc(radius: float) -> Mask:
    side = 2 * round(radius) + 1
    disc: Mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return disc
