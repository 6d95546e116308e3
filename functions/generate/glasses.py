"""Glasses: whether a face wears them, and where their frames are, so that they stay on the face that comes under them.

A frame is a dark line on skin: what a black-hat (closing minus picture) finds. Its bridge crosses the bare root of the
nose, where no face has a dark horizontal line of its own: that tells glasses from brows, lashes and wrinkles.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.landmarks import BROW_SIDES, EYES, face_width
from functions.generate.light import Lab, Lightness
from shared.images import Image, Mask, Points

WIDTH = 192  # pixels across the face while looking
SIDE = 320  # of the upright square that is looked at
ERASED = 0.15  # of a frame's mask, from where it is drawn over
RIM_SHADOW = 0.006  # of the picture's width: what a rim casts onto the skin beside it
SOFTNESS = 0.7  # pixels of WIDTH
THICKEST = 17  # pixels of WIDTH that a frame may be thick
BRIDGE = 19.0  # lightness the bridge lies below the skin; of 420 portraits none without glasses has more than 18
RIM = 6.0  # and the lower rims, lightest of both eyes; half-rimless glasses have the bridge alone and are left out
HINGE = 0.08  # face widths that a frame may stand out beyond the jaw
SHARE_OF_BRIDGE = 0.4  # how dark, measured by the bridge, the rest of a frame has to be
THICK = 40.0  # lightness a thick, dark frame's bridge lies below the skin
LIKE_THE_BRIDGE = 12.0  # lightness by which frame pixels among the brows' may differ from the bridge


@dataclass(frozen=True, eq=False)
class Upright:
    """A face turned upright at WIDTH: its lightness, how dark each pixel is as a line, its landmarks, the way there."""

    lightness: Lightness
    lines: Lightness
    points: Points
    matrix: NDArray[np.float64]


def frames(lab: Lab, points: Points) -> Mask:
    """Where the frames of the face's glasses are, (H, W); all 0 when it wears none.

    Args:
        lab: (H, W, 3).
        points: (68, 2) of the face, in pixels of `lab`.
    """
    size = lab.shape[:2]
    face = _upright(lab, points)
    bridge = _bridge(face)
    if bridge < BRIDGE or _rims(face) < RIM:
        return np.zeros(size, np.float32)
    shade = _shade(face, bridge)
    free = _zone(face) & ~_features(face, shade)
    found = (face.lines > max(SHARE_OF_BRIDGE * bridge, RIM)) & free
    if bridge > THICK:
        found = _filled(found, free & (face.lightness < shade + LIKE_THE_BRIDGE))
    # a highlight along a glossy rim is no gap in it
    found = _long(cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0)
    soft = cv2.GaussianBlur(found.astype(np.float32), (0, 0), SOFTNESS)
    back: Mask = cv2.warpAffine(soft, face.matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.clip(back, 0, 1)


def worn(lab: Lab, points: Points) -> bool:
    """Whether the face wears glasses with a visible frame."""
    face = _upright(lab, points)
    return _bridge(face) >= BRIDGE and _rims(face) >= RIM


def erased(image: Image, frames: Mask) -> Image:
    """The RGB picture with the skin around them drawn over the frames, (H, W), after Telea (2004)."""
    found = (frames > ERASED).astype(np.uint8)
    reach = 2 * round(RIM_SHADOW * image.shape[1]) + 1
    found = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    without: Image = cv2.inpaint(image, found, reach, cv2.INPAINT_TELEA)
    return without


def _upright(lab: Lab, points: Points) -> Upright:
    centre = points.mean(axis=0)
    across = points[EYES[1]].mean(axis=0) - points[EYES[0]].mean(axis=0)
    scale = WIDTH / face_width(points)
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale)
    matrix[:, 2] += SIDE / 2 - centre
    plane = lab[..., 0]
    if scale < 0.5:  # the affine warp does not average: blur away what it would step over
        plane = cv2.GaussianBlur(plane, (0, 0), 0.4 / scale)
    lightness = cv2.warpAffine(plane, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THICKEST, THICKEST))
    lines = cv2.morphologyEx(lightness, cv2.MORPH_CLOSE, kernel) - lightness
    return Upright(lightness, lines, points @ matrix[:, :2].T + matrix[:, 2], matrix)


def _bridge(face: Upright) -> float:
    """How dark the darkest line across the root of the nose is: median of nine columns between the eyes."""
    p = face.points
    left, right = p[39, 0], p[42, 0]
    room = 0.3 * (right - left)
    return _darkest(face, left + room, right - room, p[27, 1] - 0.06 * WIDTH, p[29, 1])


def _rims(face: Upright) -> float:
    """How dark the darkest line below each eye is, the lighter of both."""
    below = []
    for side in EYES:
        eye = face.points[side]
        top = eye[:, 1].max() + 0.035 * WIDTH
        below.append(_darkest(face, eye[:, 0].min(), eye[:, 0].max(), top, top + 0.17 * WIDTH))
    return min(below)


def _darkest(face: Upright, left: float, right: float, top: float, bottom: float) -> float:
    columns = np.clip(np.linspace(left, right, 9).round().astype(int), 0, SIDE - 1)
    rows = face.lines[max(int(top), 0) : max(int(bottom), 1)]
    return float(np.median(rows[:, columns].max(axis=0))) if rows.size else 0.0


def _zone(face: Upright) -> NDArray[np.bool_]:
    """From the brows to a rim's depth below the eyes."""
    p = face.points
    zone = np.zeros((SIDE, SIDE), bool)
    zone[max(int(p[17:27, 1].min()), 0) : max(int(p[36:48, 1].max() + 0.24 * WIDTH), 0)] = True
    # beside the nose the zone ends where nostrils and the shadow of its tip begin
    left, right = sorted((int(p[31, 0] - 0.03 * WIDTH), int(p[35, 0] + 0.03 * WIDTH)))
    zone[max(int(p[29, 1]), 0) :, max(left, 0) : max(right, 0)] = False
    # a hinge stands out a little; beyond are hair and background
    left, right = int(p[:17, 0].min() - HINGE * WIDTH), int(p[:17, 0].max() + HINGE * WIDTH)
    zone[:, : max(left, 0)] = False
    zone[:, max(right, 0) :] = False
    return zone


def _shade(face: Upright, bridge: float) -> float:
    """How light the bridge is."""
    p = face.points
    root = (slice(int(p[27, 1] - 0.06 * WIDTH), int(p[29, 1])), slice(int(p[39, 0]) + 6, int(p[42, 0]) - 5))
    on_bridge = face.lines[root] > 0.7 * bridge
    return float(np.median(face.lightness[root][on_bridge])) if on_bridge.any() else 0.0


def _filled(found: NDArray[np.bool_], like: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With what is as dark and no farther off than a thick frame: where its parts meet it is too broad for a line."""
    near = cv2.dilate(found.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THICKEST, THICKEST))) > 0
    filled: NDArray[np.bool_] = found | (near & like)
    return filled


def _features(face: Upright, shade: float) -> NDArray[np.bool_]:
    """Lines that are the face's own: eyes with their lashes, and brows unless they are as dark as the bridge."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for side in EYES:
        cv2.fillConvexPoly(canvas, cv2.convexHull(np.round(face.points[side]).astype(np.int32)), 1)
    own = cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))) > 0
    brows = np.zeros((SIDE, SIDE), np.uint8)
    for side in BROW_SIDES:
        line = np.round(face.points[side]).astype(np.int32)
        cv2.polylines(brows, [line.reshape(-1, 1, 2)], False, 1, thickness=round(0.08 * WIDTH))
    p = face.points
    brows[:, max(int(p[21, 0]), 0) : max(int(p[22, 0]), 0)] = 0  # between the brows is the bridge
    unlike = np.abs(face.lightness - shade) > LIKE_THE_BRIDGE
    features: NDArray[np.bool_] = own | ((brows > 0) & unlike)
    return features


def _long(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without specks: only pieces at least a sixth of the face long."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[1:] = np.maximum(stats[1:, cv2.CC_STAT_WIDTH], stats[1:, cv2.CC_STAT_HEIGHT]) > WIDTH / 6
    kept: NDArray[np.bool_] = keep[labels]
    return kept
