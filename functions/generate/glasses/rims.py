"""The rims of glasses: closed lines around the eyes, traced near the outlines of a pair of lenses.

As a path each is one line of bounded thickness, whatever is dark beside it: hair, a brow, a shadow below the eye.
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

STEP, NEAR = 0.75, 22  # pixels of WIDTH between samples across an outline; samples to each side, THICKEST at least
OFF, LOSS = 9, 0.2  # samples that a rim may lie off the outline, and what it loses there
ASIDE = 2  # samples that it may come nearer or go farther from one of the outline's points to the next
PALER = 10.0  # chroma that a frame has less than the skin, from where lines of less color count in full
LIKE_THE_BRIDGE = 1.2  # of the bridge's depth, beyond which a rim gains nothing by being clearer
ALIKE, DEEP = 0.5, 60.0  # share of the color in what speaks for a rim, of one so much darker than the skin
BROAD = 21  # pixels of WIDTH that no part of a frame is broad
EYE = -0.5  # what speaks for a rim where an eye is: there is none
LASHES = 11  # pixels of WIDTH around which the eye's own lines are
CHROMATIC = 2.0  # weight of a and b in a color's way from skin to frame
ASTRAY = 0.5  # what a step aside of that way takes back of it
SKIN = [29, 30, *range(1, 4), *range(13, 16), 31, 35]  # landmarks about which most of the skin is
CLEAR = 0.22  # of what a rim may gain at most, that it has at least more than what is around it
GAP, SPECK = 13, 9  # points of an outline


def frame_likeness(face: AlignedFace, depth: float, frame: Color) -> Lightness:
    """How much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).

    Args:
        face: the upright face.
        depth: how much the bridge looks like a line, in lightness.
        frame: the bridge's color.
    """
    # a red frame or one of horn has no less color than skin
    paler = np.clip((np.hypot(*skin_color(face)[1:]) - np.hypot(*frame[1:])) / PALER, 0, 1)
    lines = np.minimum(face.lines(THICKEST, float(paler)) / (LIKE_THE_BRIDGE * max(depth, 1.0)), 1)
    alike = color_likeness(face, frame)
    weight = ALIKE * min(depth / DEEP, 1.0)
    # broad places of a frame's color are hair
    narrow = cv2.morphologyEx(alike, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BROAD, BROAD)))
    found: Lightness = ((1 - weight) * lines + weight * narrow).astype(np.float32)
    found[eye_mask(face)] = EYE
    return found


def eye_mask(face: AlignedFace) -> NDArray[np.bool_]:
    """The eyes with their lashes, (SIDE, SIDE)."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for side in EYES:
        cv2.fillConvexPoly(canvas, cv2.convexHull(np.round(face.points[side]).astype(np.int32)), 1)
    found: NDArray[np.bool_] = cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LASHES, LASHES))) > 0
    return found


def skin_color(face: AlignedFace) -> Color:
    """The color of the face's skin, away from eyes and mouth."""
    columns, rows = np.clip(np.round(face.points[SKIN]), 0, SIDE - 1).astype(int).T
    middle: Color = np.median(face.lab[rows, columns], axis=0)
    return middle


def color_likeness(face: AlignedFace, frame: Color) -> Lightness:
    """How far each pixel's color has gone from the skin's to the frame's, 0 to 1, (SIDE, SIDE)."""
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
    """The rim near a lens's outline, present wherever it is clear enough.

    Args:
        face: the upright face.
        outline: (N, 2), of the lens.
        found: (SIDE, SIDE), how much each pixel looks like part of a frame, 0 to 1.
    """
    points = sample_points_across(outline)
    gains = sample(found, points)
    off = np.abs(np.arange(-NEAR, NEAR + 1)) / OFF
    near = np.broadcast_to(off <= 1, gains.shape)
    steps = min_cost_path.trace_line((gains - LOSS * off**2).astype(np.float32), near, ASIDE, closed=True)
    # among wrinkles everything looks a little like a frame
    clear = gains[np.arange(len(outline)), steps] - np.quantile(gains, 0.25, axis=1) > CLEAR
    return measure_stroke(points, sample(face.lightness, points), steps, _unbroken(clear), closed=True)


def sample_points_across(outline: Points) -> Points:
    """(N, 2 * NEAR + 1, 2): points from inside of a closed outline to outside of it, STEP apart."""
    along_it = np.roll(outline, -2, axis=0) - np.roll(outline, 2, axis=0)
    normal = np.stack([along_it[:, 1], -along_it[:, 0]], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    points: Points = outline[:, None] + normal[:, None] * (np.arange(-NEAR, NEAR + 1) * STEP)[:, None]
    return points


def _unbroken(clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the gaps that highlights make, and without specks."""
    three = np.tile(clear, 3).astype(np.uint8)[None]
    three = cv2.morphologyEx(three, cv2.MORPH_CLOSE, np.ones((1, GAP), np.uint8))
    three = cv2.morphologyEx(three, cv2.MORPH_OPEN, np.ones((1, SPECK), np.uint8))
    unbroken: NDArray[np.bool_] = three[0, len(clear) : 2 * len(clear)] > 0
    return unbroken
