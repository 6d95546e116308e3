"""The outline of a pair of lenses: two mirrored, rounded shapes, laid where the most of a frame lies under them.

No shape of this kind follows a brow, the lids or a shadow below the eye for more than a part of its way.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES
from functions.generate.face.light import Lightness
from functions.generate.glasses.aligned_face import WIDTH, Upright, sampled
from shared.imaging.array_types import Points

ANGLES = 120  # points of an outline
COARSE = 3  # of them, one is looked at while searching
# outwards and down from the eye's middle, half the width, height above and below, squareness, rise outwards, tapers;
# in face widths, the exponent of a superellipse, a slope, and shares of the width that are lost at the bottom,
# outwards and at the nose
LEAST = np.array([-0.05, 0.0, 0.09, 0.06, 0.07, 2.0, -0.06, -0.1, -0.1])
MOST = np.array([0.07, 0.09, 0.22, 0.16, 0.19, 5.0, 0.2, 0.6, 0.4])
# shapes that are tried each time, how many of them the next ones lie around, and how blurred the picture is, in pixels
TRIALS = (
    (8000, 60, 1.5),
    (800, 40, 1.5),
    (800, 40, 1.2),
    (800, 40, 1.0),
    (800, 40, 1.0),
    (800, 40, 0.8),
    (800, 1, 0.7),
)
ENOUGH = 0.6  # what looks that much like a frame is one: a rim may be of two colours
BESIDE = ((0.85, 0.4), (1.15, 0.4))  # sizes beside an outline and the weight of what is found there
EXTENT = 4.0  # standard deviations of the best shapes, over which the next ones are spread
SEED = 36

Shapes = NDArray[np.float64]
"""(K, 9), as LEAST and MOST."""


def pair(face: Upright, share: Lightness) -> list[Points]:
    """The outlines of both lenses, (ANGLES, 2) each, clockwise from the right as pictures show it.

    Args:
        face: the upright face.
        share: (SIDE, SIDE), how much each pixel looks like part of a frame, 0 to 1.
    """
    generator = np.random.default_rng(SEED)
    spread = MOST - LEAST
    both = _best(generator, face, share, (0, 1), (LEAST + MOST) / 2, spread)
    own = (_best(generator, face, share, (side,), both, spread) for side in (0, 1))
    return [outlines(face, side, shape[None])[0] for side, shape in enumerate(own)]


def outlines(face: Upright, side: int, shapes: Shapes, every: int = 1) -> Points:
    """(K, ANGLES / every, 2) of the shapes on one side, in the upright square."""
    out, down, width, above, below, squareness, rise, outer, inner = shapes.T[..., None]
    angle = np.arange(0, ANGLES, every) * (2 * np.pi / ANGLES)
    cosine, sine = np.cos(angle), np.sin(angle)
    tapered = width * (1 - np.where(cosine > 0, outer, inner) * np.maximum(sine, 0))
    x = np.sign(cosine) * np.abs(cosine) ** (2 / squareness) * tapered + out
    y = np.sign(sine) * np.abs(sine) ** (2 / squareness) * np.where(sine < 0, above, below) + down - rise * x
    middles = [face.points[eye].mean(axis=0) for eye in EYES]
    root = face.points[27:30, 0].mean()
    apart = np.array([root - middles[0][0], middles[1][0] - root])
    nearer = np.clip(2 * apart[side] / max(apart.sum(), 1.0), 0.4, 1.6)  # of a turned face, one half looks narrower
    x = WIDTH * x * nearer * (-1 if side == 0 else 1)
    points = np.stack([middles[side][0] + x, middles[side][1] + WIDTH * y], axis=-1)
    # mirrored, the outline runs the other way round from the left
    return np.roll(points[:, ::-1], 1 + len(angle) // 2, axis=1) if side == 0 else points


def _best(
    generator: np.random.Generator,
    face: Upright,
    share: Lightness,
    sides: tuple[int, ...],
    around: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The shape, (9,), under which the most of a frame lies on those sides: by the cross-entropy method."""
    best: NDArray[np.float64] = around
    for count, kept, blur in TRIALS:
        smooth = cv2.GaussianBlur(np.minimum(share, ENOUGH), (0, 0), blur)
        tried = around + spread * (generator.random((count, len(LEAST))) - 0.5)
        tried = np.vstack([best, np.clip(tried, LEAST, MOST)])
        gains = np.sum([_gain(smooth, outlines(face, side, tried, COARSE)) for side in sides], axis=0)
        order = np.argsort(-gains)
        best = tried[order[0]]
        elite = tried[order[:kept]]
        around, spread = elite.mean(axis=0), EXTENT * elite.std(axis=0)
    return best


def _gain(share: Lightness, tried: Points) -> NDArray[np.float64]:
    """How much more of a frame lies under each outline, (K, N, 2), than a little inside and outside of it."""
    middle = tried.mean(axis=1, keepdims=True)
    gain: NDArray[np.float64] = sampled(share, tried).mean(axis=1, dtype=np.float64)
    for scale, weight in BESIDE:
        gain = gain - weight * np.maximum(sampled(share, middle + scale * (tried - middle)), 0).mean(axis=1)
    return gain
