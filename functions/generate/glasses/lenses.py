"""The outline of a pair of lenses: two mirrored, rounded shapes, laid where the most of a frame lies under them.

No shape of this kind follows a brow, the lids or a shadow below the eye for more than a part of its way. Of a pale rim
on wrinkled skin one lens alone may show too little. So both are laid as one shape, each for itself, and each as the
other's mirror image; that pair is taken under which the most of a frame lies, for its two sides being alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import EYES, JAW
from functions.generate.face.light import Lightness
from functions.generate.glasses.aligned_face import WIDTH, AlignedFace, sample
from shared.imaging.array_types import Points

ANGLES = 120  # points of an outline
COARSE = 3  # of them, one is looked at while searching
# outwards and down from the eye's middle, half the width, height above and below, squareness, rise outwards, tapers;
# in face widths, the exponent of a superellipse, a slope, and shares of the width that are lost at the bottom,
# outwards and at the nose
LEAST = np.array([-0.05, 0.0, 0.09, 0.06, 0.07, 2.0, -0.06, -0.1, -0.1])
MOST = np.array([0.07, 0.09, 0.22, 0.16, 0.19, 5.0, 0.2, 0.6, 0.4])
LEAST_OF_BOTH = np.array([0.01, 0.0, 0.11, *LEAST[3:]])  # of one on both sides: no eye is in a lens's outer half
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
REFINING = TRIALS[2:]  # of a shape that is about right
NARROW = 0.15  # of LEAST to MOST, within which shapes are refined
ENOUGH = 0.6  # what looks that much like a frame is one: a rim may be of two colors
BESIDE = ((0.85, 0.4), (1.15, 0.4))  # sizes beside an outline and the weight of what is found there
CLOSED, FAINTEST = 0.3, 0.25  # weight of the quantile FAINTEST along an outline: rims go all around
UNLIKE = np.array([0.5, 0.5, 1, 1, 1, 1, 1, 1, 1]) * (2.0 / 9)  # what differences cost, as squares of LEAST to MOST
NASAL = 6.0  # what each face width costs that a pair lies nearer to the nose than the eyes
INSIDE, NOTHING = 0.02, -0.5  # face widths inside of the jaw line, from where no lens is; what speaks for one there
TURNED = 0.8  # width of a half of the face that is turned away, from where its lens may reach beyond it
EXTENT = 4.0  # standard deviations of the best shapes, over which the next ones are spread
SEED = 36

Shape = NDArray[np.float64]
"""(9,), as LEAST and MOST."""
Shapes = NDArray[np.float64]
"""(K, 9)."""
Trial = tuple[int, int, float]
"""One of TRIALS."""


def fit_lenses(face: AlignedFace, share: Lightness) -> list[Points]:
    """The outlines of both lenses, (ANGLES, 2) each, clockwise from the right as pictures show it.

    Args:
        face: the upright face.
        share: (SIDE, SIDE), how much each pixel looks like part of a frame, 0 to 1.
    """
    share = _on_the_face(face, share)
    search = Search(face, share, np.random.default_rng(SEED))
    spread = MOST - LEAST
    both = search.best((0, 1), (LEAST + MOST) / 2, spread, TRIALS, LEAST_OF_BOTH)
    own = [search.best((side,), both, spread, TRIALS) for side in (0, 1)]
    mirrored = [search.best((side,), own[1 - side], NARROW * spread, REFINING) for side in (0, 1)]
    alike = [search.best((side,), both, NARROW * spread, REFINING) for side in (0, 1)]
    pairs = [own, [own[0], mirrored[1]], [mirrored[0], own[1]], alike]
    found = max(pairs, key=search.worth)
    return [lens_outlines(face, side, shape[None])[0] for side, shape in enumerate(found)]


def lens_outlines(face: AlignedFace, side: int, shapes: Shapes, every: int = 1) -> Points:
    """(K, ANGLES / every, 2) of the shapes on one side, in the upright square."""
    out, down, width, above, below, squareness, rise, outer, inner = shapes.T[..., None]
    angle = np.arange(0, ANGLES, every) * (2 * np.pi / ANGLES)
    cosine, sine = np.cos(angle), np.sin(angle)
    tapered = width * (1 - np.where(cosine > 0, outer, inner) * np.maximum(sine, 0))
    x = np.sign(cosine) * np.abs(cosine) ** (2 / squareness) * tapered + out
    y = np.sign(sine) * np.abs(sine) ** (2 / squareness) * np.where(sine < 0, above, below) + down - rise * x
    middles = [face.points[eye].mean(axis=0) for eye in EYES]
    x = WIDTH * x * _nearer(face)[side] * (-1 if side == 0 else 1)
    points = np.stack([middles[side][0] + x, middles[side][1] + WIDTH * y], axis=-1)
    # mirrored, the outline runs the other way round from the left
    return np.roll(points[:, ::-1], 1 + len(angle) // 2, axis=1) if side == 0 else points


@dataclass(frozen=True, eq=False)
class Search:
    """Looks for lenses on an upright face; `share`: how much each pixel looks like part of a frame, 0 to 1."""

    face: AlignedFace
    share: Lightness
    generator: np.random.Generator

    def best(
        self, sides: tuple[int, ...], around: Shape, spread: Shape, trials: Sequence[Trial], least: Shape = LEAST
    ) -> Shape:
        """The shape, (9,), under which the most of a frame lies on those sides: by the cross-entropy method."""
        best = around
        for count, kept, blur in trials:
            smooth = self._smooth(blur)
            tried = around + spread * (self.generator.random((count, len(LEAST))) - 0.5)
            tried = np.vstack([best, np.clip(tried, least, MOST)])
            gains = np.sum([_gain(smooth, lens_outlines(self.face, side, tried, COARSE)) for side in sides], axis=0)
            order = np.argsort(-gains)
            best = tried[order[0]]
            elite = tried[order[:kept]]
            around, spread = elite.mean(axis=0), EXTENT * elite.std(axis=0)
        return best

    def worth(self, pair: Sequence[Shape]) -> float:
        """How much speaks for a pair of shapes: the frame below them, and that they are alike and before the eyes."""
        smooth = self._smooth(TRIALS[-1][2])
        gains = [_gain(smooth, lens_outlines(self.face, side, shape[None]))[0] for side, shape in enumerate(pair)]
        apart = (pair[0] - pair[1]) / (MOST - LEAST)
        nasal = max(0.0, LEAST_OF_BOTH[0] - (pair[0][0] + pair[1][0]) / 2)
        return float(sum(gains) - (UNLIKE * apart**2).sum() - NASAL * nasal)

    def _smooth(self, blur: float) -> Lightness:
        smooth: Lightness = cv2.GaussianBlur(np.minimum(self.share, ENOUGH), (0, 0), blur)
        return smooth


def _nearer(face: AlignedFace) -> NDArray[np.float64]:
    """How wide the left and the right half of the face look, 1 each when it is not turned."""
    root = face.points[27:30, 0].mean()
    apart = np.array([root - face.points[EYES[0], 0].mean(), face.points[EYES[1], 0].mean() - root])
    nearer: NDArray[np.float64] = np.clip(2 * apart / max(apart.sum(), 1.0), 0.4, 1.6)
    return nearer


def _on_the_face(face: AlignedFace, share: Lightness) -> Lightness:
    """The same where lenses can be: they end before the ears, but for a turned face's on the far side."""
    share = share.copy()
    jaw, nearer = face.points[JAW, 0], _nearer(face)
    if nearer[0] > TURNED:
        share[:, : max(int(jaw.min() + INSIDE * WIDTH), 0)] = NOTHING
    if nearer[1] > TURNED:
        share[:, max(int(jaw.max() - INSIDE * WIDTH), 0) :] = NOTHING
    return share


def _gain(share: Lightness, tried: Points) -> NDArray[np.float64]:
    """How much more of a frame lies under each outline, (K, N, 2), than a little inside and outside of it."""
    middle = tried.mean(axis=1, keepdims=True)
    along = sample(share, tried)
    gain: NDArray[np.float64] = along.mean(axis=1, dtype=np.float64) + CLOSED * np.quantile(along, FAINTEST, axis=1)
    for scale, weight in BESIDE:
        gain = gain - weight * np.maximum(sample(share, middle + scale * (tried - middle)), 0).mean(axis=1)
    return gain
