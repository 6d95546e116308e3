"""Trace the rims of glasses: closed lines around the eyes, near the outlines of a pair of lenses.

Traced as a path, each rim is one line of bounded thickness, even beside hair, a brow or a shadow below the eye.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES
from functions.generate.face.light import Lightness
from functions.generate.glasses import min_cost_path
from functions.generate.glasses.aligned_face import SIDE, AlignedFace, sample
from functions.generate.glasses.thick_lines import THICKEST, Stroke, measure_stroke
from shared.imaging.array_types import Points

Color = NDArray[np.float32]
"""(3,): LAB."""

# lengths in pixels are those of the upright square, in which a face is `aligned_face.WIDTH` pixels wide
STEP, NEAR = 0.75, 22  # pixels between samples across an outline; samples to each side, about THICKEST pixels
OFF, LOSS = 9, 0.2  # samples that a rim may lie off the outline, and what it loses in gain there
ASIDE = 2  # samples by which a rim's distance from the outline may change from one of its points to the next
PALER = 10.0  # chroma by which a frame is less colored than the skin, from which missing chroma counts in full
LIKE_THE_BRIDGE = 1.2  # depth, in depths of the bridge, beyond which a clearer line gains nothing
ALIKE, DEEP = 0.5, 60.0  # weight of the color's likeness for a bridge of the depth DEEP; less for a fainter one
BROAD = 21  # pixels; every part of a frame is narrower
EYE = -0.5  # frame-likeness of the eyes, where no rim can be
LASHES = 11  # pixels; size of the kernel that extends the eyes to their lashes
CHROMATIC = 2.0  # weight of a and b in the distance from skin to frame
ASTRAY = 0.5  # weight of a color's distance from the line between skin and frame, subtracted from its likeness
SKIN = [29, 30, *range(1, 4), *range(13, 16), 31, 35]  # landmarks most of which lie on skin
CLEAR = 0.22  # least gain of a rim over its surroundings, out of at most 1
GAP, SPECK = 13, 9  # points of an outline: shorter gaps are closed, and shorter pieces removed


def frame_likeness(face: AlignedFace, depth: float, frame: Color) -> Lightness:
    """Return how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE); EYE on the eyes.

    Args:
        face: the upright face.
        depth: how much the bridge looks like a line, in lightness.
        frame: the bridge's color.
    """
    # red frames and horn frames have no less chroma than skin
    paler = np.clip((np.hypot(*skin_color(face)[1:]) - np.hypot(*frame[1:])) / PALER, 0, 1)
    lines = np.minimum(face.lines(THICKEST, float(paler)) / (LIKE_THE_BRIDGE * max(depth, 1.0)), 1)
    alike = color_likeness(face, frame)
    weight = ALIKE * min(depth / DEEP, 1.0)
    # broad areas of the frame's color are hair
    narrow = cv2.morphologyEx(alike, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BROAD, BROAD)))
    found: Lightness = ((1 - weight) * lines + weight * narrow).astype(np.float32)
    found[eye_mask(face)] = EYE
    return found


def eye_mask(face: AlignedFace) -> NDArray[np.bool_]:
    """Return the mask of the eyes with their lashes, (SIDE, SIDE)."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for side in EYES:
        cv2.fillConvexPoly(canvas, cv2.convexHull(np.round(face.points[side]).astype(np.int32)), 1)
    found: NDArray[np.bool_] = cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LASHES, LASHES))) > 0
    return found


def skin_color(face: AlignedFace) -> Color:
    """Return the LAB color of the face's skin away from eyes and mouth, (3,)."""
    columns, rows = np.clip(np.round(face.points[SKIN]), 0, SIDE - 1).astype(int).T
    middle: Color = np.median(face.lab[rows, columns], axis=0)
    return middle


def color_likeness(face: AlignedFace, frame: Color) -> Lightness:
    """Return how far each pixel's color lies on the way from the skin's to the frame's, 0 to 1, (SIDE, SIDE)."""
    weights = np.array([1, CHROMATIC, CHROMATIC], np.float32)
    bare = skin_color(face)
    way = (frame - bare) * weights
    length = max(float(np.linalg.norm(way)), 1.0)
    gone = (face.lab - bare) * weights
    along_it = gone @ (way / length)
    aside = np.linalg.norm(gone - along_it[..., None] * (way / length), axis=-1)
    found: Lightness = np.clip((np.minimum(along_it, length) - ASTRAY * aside) / length, 0, 1).astype(np.float32)
    return found


def trace_rim(face: AlignedFace, outline: Points, found: Lightness) -> Stroke:
    """Trace the rim near a lens's outline; it is present wherever it is clear enough.

    Args:
        face: the upright face.
        outline: outline of the lens, (N, 2).
        found: how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).
    """
    points = sample_points_across(outline)
    gains = sample(found, points)
    off = np.abs(np.arange(-NEAR, NEAR + 1)) / OFF
    near = np.broadcast_to(off <= 1, gains.shape)
    steps = min_cost_path.trace_line((gains - LOSS * off**2).astype(np.float32), near, ASIDE, closed=True)
    # compared with its surroundings, because among wrinkles everything looks a little like a frame
    clear = gains[np.arange(len(outline)), steps] - np.quantile(gains, 0.25, axis=1) > CLEAR
    return measure_stroke(points, sample(face.lightness, points), steps, _close_gaps(clear), closed=True)


def sample_points_across(outline: Points) -> Points:
    """Return points from inside to outside a closed outline, STEP apart, (N, 2 * NEAR + 1, 2)."""
    along_it = np.roll(outline, -2, axis=0) - np.roll(outline, 2, axis=0)
    normal = np.stack([along_it[:, 1], -along_it[:, 0]], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    points: Points = outline[:, None] + normal[:, None] * (np.arange(-NEAR, NEAR + 1) * STEP)[:, None]
    return points


def _close_gaps(clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close the gaps that highlights make, and remove specks."""
    three = np.tile(clear, 3).astype(np.uint8)[None]
    three = cv2.morphologyEx(three, cv2.MORPH_CLOSE, np.ones((1, GAP), np.uint8))
    three = cv2.morphologyEx(three, cv2.MORPH_OPEN, np.ones((1, SPECK), np.uint8))
    unbroken: NDArray[np.bool_] = three[0, len(clear) : 2 * len(clear)] > 0
    return unbroken
