"""The 68 landmarks of iBUG 300-W from the 478 points of a face mesh.

| part | from the mesh |
|---|---|
| eyes, nose, mouth | one point of the mesh for each, or the mean of two |
| brows | evenly spaced along a line through their middle, from end to end |
| jaw | evenly spaced along the visible outline, from beside the eyes to the chin |

The mesh is three-dimensional: if the head is turned, points of the far side lie behind the cheek or even the nose.
iBUG's jaw is the outline that the picture shows, so it is taken from the convex hull of the mesh below the brows. The
irises' points are not used.
"""

import cv2
import numpy as np

from shared.imaging.array_types import Points

LEFT_TEMPLE, CHIN, RIGHT_TEMPLE = 127, 152, 356  # the ends and the middle of iBUG's jaw, the picture's left first
BROW_LEFT = [(70, 46), (63, 63), (105, 105), (66, 66), (107, 55)]
BROW_RIGHT = [(336, 285), (296, 296), (334, 334), (293, 293), (300, 276)]
NOSE = [168, 197, 5, 4, 75, 97, 2, 326, 305]
EYES = [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
MOUTH = [61, (40, 39), 37, 0, 267, (270, 269), 291, (321, 405), 314, 17, 84, (91, 181)]
HAIRLINE = [103, 67, 109, 10, 338, 297, 332]  # the upper end of the mesh without the temples, left to right
INNER_MOUTH = [78, 82, 13, 312, 308, 317, 14, 87]
PAIRS = np.array([one if isinstance(one, tuple) else (one, one) for one in [*NOSE, *EYES, *MOUTH, *INNER_MOUTH]])

HALF_JAW, BROW = 9, 5  # number of iBUG's points from a temple to the chin, and of a brow
EYES_AT, MOUTH_AT = np.arange(9, 15), np.arange(21, 33)  # among the inner points: the left eye, the outer lips

IRISES = 468  # the first of the irises' points
BROW_LINE = 0.35  # height above the eyes, in eye distances, below which the mesh's outline is the jaw's


def landmarks(mesh: Points) -> Points:
    """Return the 68 landmarks, (68, 2), of a mesh, (478, 2) or (478, 3), in its pixels."""
    flat = np.ascontiguousarray(mesh[:IRISES, :2])
    inner = flat[PAIRS].mean(axis=1)
    brows = [_evenly(flat[brow].mean(axis=1), BROW) for brow in (BROW_LEFT, BROW_RIGHT)]
    return np.concatenate([_jaw(flat, inner), *brows, inner])


def _evenly(line: Points, count: int) -> Points:
    """Return `count` evenly spaced points along a polyline, its ends included."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count)
    return np.column_stack([np.interp(at, along, line[:, 0]), np.interp(at, along, line[:, 1])])


def _jaw(flat: Points, inner: Points) -> Points:
    """Return the outline below the brows, from the left temple's height around the chin to the right temple's."""
    eyes = inner[EYES_AT].mean(axis=0), inner[EYES_AT + 6].mean(axis=0)
    middle = (eyes[0] + eyes[1]) / 2
    down = inner[MOUTH_AT].mean(axis=0) - middle
    length = float(np.linalg.norm(down))
    if length == 0:
        return np.repeat(flat[[CHIN]], 2 * HALF_JAW - 1, axis=0)
    down = down / length
    upright = np.column_stack([(flat - middle) @ [down[1], -down[0]], (flat - middle) @ down])
    below = upright[upright[:, 1] >= -BROW_LINE * np.linalg.norm(eyes[1] - eyes[0])]
    hull = cv2.convexHull(below.astype(np.float32))[:, 0].astype(float)
    chin = upright[CHIN]
    halves = [_half(hull, upright[temple, 1], chin, side) for temple, side in ((LEFT_TEMPLE, -1), (RIGHT_TEMPLE, 1))]
    jaw = np.concatenate([halves[0], halves[1][-2::-1]])
    return middle + jaw[:, :1] * [down[1], -down[0]] + jaw[:, 1:] * down


def _half(hull: Points, height: float, chin: Points, side: int) -> Points:
    """Return one side of an upright face's outline, from `height` down to the chin."""
    outer = hull * [side, 1]
    lowest = int(np.argmin(np.linalg.norm(outer - chin * [side, 1], axis=1)))
    ahead = np.roll(outer, -lowest, axis=0)  # from the chin around the hull, in both directions
    ways = [ahead, np.concatenate([ahead[:1], ahead[:0:-1]])]
    up = max(ways, key=lambda way: way[1 : len(way) // 2 + 1, 0].sum())
    above = int(np.argmax(up[:, 1] <= height))  # heights rise monotonically along a side of a hull
    if above == 0:
        return np.repeat(up[:1], HALF_JAW, axis=0) * [side, 1]
    one, other = up[above - 1], up[above]
    share = (one[1] - height) / max(one[1] - other[1], 1e-6)
    temple = one + (other - one) * share
    return _evenly(np.concatenate([[temple], up[above - 1 :: -1]]), HALF_JAW) * [side, 1]
