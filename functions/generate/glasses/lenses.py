"""Find the outlines of a pair of lenses: two mirrored, rounded shapes, fitted to the pixels that look like a frame.

A shape of this kind follows a brow, the lids or a shadow below the eye for only a part of its outline. If a pale rim
lies on wrinkled skin, one lens alone may show too little. So shapes are fitted in three ways: to both lenses together,
to each lens alone, and to each lens near the mirror image of the other. The pair with the best score is taken; the
score counts how much of a frame lies under the outlines, and how alike the two are.
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
COARSE = 3  # every third of them is used while searching
# bounds of a shape's parameters: center outwards and down from the eye's center, half the width, height above and below
# (face widths); squareness (exponent of a superellipse); rise outwards (slope); taper towards the bottom at the outer
# side and at the nose (shares of the width)
LEAST = np.array([-0.05, 0.0, 0.09, 0.06, 0.07, 2.0, -0.06, -0.1, -0.1])
MOST = np.array([0.07, 0.09, 0.22, 0.16, 0.19, 5.0, 0.2, 0.6, 0.4])
LEAST_OF_BOTH = np.array([0.01, 0.0, 0.11, *LEAST[3:]])  # for one shape on both sides: no eye is in a lens's outer half
# per round: number of shapes tried, number of best shapes that the next round is based on, sigma of the blur in pixels
TRIALS = (
    (8000, 60, 1.5),
    (800, 40, 1.5),
    (800, 40, 1.2),
    (800, 40, 1.0),
    (800, 40, 1.0),
    (800, 40, 0.8),
    (800, 1, 0.7),
)
REFINING = TRIALS[2:]  # for a shape that is about right
NARROW = 0.15  # share of the range from LEAST to MOST within which shapes are refined
ENOUGH = 0.6  # frame-likeness at which a pixel counts in full, since a rim may have two colors
BESIDE = ((0.85, 0.4), (1.15, 0.4))  # scales of the outlines beside it, and the weights of what is subtracted there
CLOSED, FAINTEST = 0.3, 0.25  # weight of the quantile FAINTEST along an outline: rims must go all around
UNLIKE = np.array([0.5, 0.5, 1, 1, 1, 1, 1, 1, 1]) * (2.0 / 9)  # cost of squared differences, in ranges LEAST to MOST
NASAL = 6.0  # cost per face width by which a pair lies nearer to the nose than the eyes
INSIDE, NOTHING = 0.02, -0.5  # face widths inside the jaw line beyond which no lens can be; the likeness there
TURNED = 0.8  # relative width of a half of the face, up to which it is turned away and its lens may reach beyond it
EXTENT = 4.0  # spread of the next shapes, in standard deviations of the best ones
SEED = 36

Shape = NDArray[np.float64]
"""(9,), the parameters of LEAST and MOST."""
Shapes = NDArray[np.float64]
"""(K, 9), K shapes."""
Trial = tuple[int, int, float]
"""One round of TRIALS."""


def fit_lenses(face: AlignedFace, share: Lightness) -> list[Points]:
    """Return the outlines of both lenses, (ANGLES, 2) each, clockwise from the right in the picture.

    Args:
        face: the upright face.
        share: how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).
    """
    share = _exclude_outside(face, share)
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
    """Return the outlines of shapes on one side, (K, ANGLES / every, 2), in the upright square."""
    out, down, width, above, below, squareness, rise, outer, inner = shapes.T[..., None]
    angle = np.arange(0, ANGLES, every) * (2 * np.pi / ANGLES)
    cosine, sine = np.cos(angle), np.sin(angle)
    tapered = width * (1 - np.where(cosine > 0, outer, inner) * np.maximum(sine, 0))
    x = np.sign(cosine) * np.abs(cosine) ** (2 / squareness) * tapered + out
    y = np.sign(sine) * np.abs(sine) ** (2 / squareness) * np.where(sine < 0, above, below) + down - rise * x
    middles = [face.points[eye].mean(axis=0) for eye in EYES]
    x = WIDTH * x * _half_widths(face)[side] * (-1 if side == 0 else 1)
    points = np.stack([middles[side][0] + x, middles[side][1] + WIDTH * y], axis=-1)
    # the mirrored outline starts at the left and runs counterclockwise: reverse it, and start at the right
    return np.roll(points[:, ::-1], 1 + len(angle) // 2, axis=1) if side == 0 else points


@dataclass(frozen=True, eq=False)
class Search:
    """A search for lenses on an upright face.

    Attributes:
        face: the upright face.
        share: how much each pixel looks like part of a frame, 0 to 1, (SIDE, SIDE).
        generator: of the random shapes.
    """

    face: AlignedFace
    share: Lightness
    generator: np.random.Generator

    def best(
        self, sides: tuple[int, ...], around: Shape, spread: Shape, trials: Sequence[Trial], least: Shape = LEAST
    ) -> Shape:
        """Return the shape with the most of a frame under its outline, (9,), by the cross-entropy method.

        Args:
            sides: 0 for the left lens, 1 for the right; with both, one shape is fitted to the two.
            around: the shape to start from.
            spread: range of the first random shapes.
            trials: the rounds of the search.
            least: the lower bounds of the parameters.
        """
        best = around
        for count, kept, blur in trials:
            smooth = self._blur_share(blur)
            tried = around + spread * (self.generator.random((count, len(LEAST))) - 0.5)
            tried = np.vstack([best, np.clip(tried, least, MOST)])
            gains = np.sum(
                [_measure_gain(smooth, lens_outlines(self.face, side, tried, COARSE)) for side in sides], axis=0
            )
            order = np.argsort(-gains)
            best = tried[order[0]]
            elite = tried[order[:kept]]
            around, spread = elite.mean(axis=0), EXTENT * elite.std(axis=0)
        return best

    def worth(self, pair: Sequence[Shape]) -> float:
        """Return the score of a pair of shapes.

        It is how much of a frame lies under them, minus costs for being unlike and for lying too near to the nose.
        """
        smooth = self._blur_share(TRIALS[-1][2])
        gains = [
            _measure_gain(smooth, lens_outlines(self.face, side, shape[None]))[0] for side, shape in enumerate(pair)
        ]
        apart = (pair[0] - pair[1]) / (MOST - LEAST)
        nasal = max(0.0, LEAST_OF_BOTH[0] - (pair[0][0] + pair[1][0]) / 2)
        return float(sum(gains) - (UNLIKE * apart**2).sum() - NASAL * nasal)

    def _blur_share(self, blur: float) -> Lightness:
        smooth: Lightness = cv2.GaussianBlur(np.minimum(self.share, ENOUGH), (0, 0), blur)
        return smooth


def _half_widths(face: AlignedFace) -> NDArray[np.float64]:
    """Return the relative widths of the left and the right half of the face, (2,); 1 each if it is not turned."""
    root = face.points[27:30, 0].mean()
    apart = np.array([root - face.points[EYES[0], 0].mean(), face.points[EYES[1], 0].mean() - root])
    nearer: NDArray[np.float64] = np.clip(2 * apart / max(apart.sum(), 1.0), 0.4, 1.6)
    return nearer


def _exclude_outside(face: AlignedFace, share: Lightness) -> Lightness:
    """Exclude the pixels outside the jaw line, where no lens can be; on the far side of a turned face it can be."""
    share = share.copy()
    jaw, nearer = face.points[JAW, 0], _half_widths(face)
    if nearer[0] > TURNED:
        share[:, : max(int(jaw.min() + INSIDE * WIDTH), 0)] = NOTHING
    if nearer[1] > TURNED:
        share[:, max(int(jaw.max() - INSIDE * WIDTH), 0) :] = NOTHING
    return share


def _measure_gain(share: Lightness, tried: Points) -> NDArray[np.float64]:
    """Return how much more of a frame lies under each outline, (K, N, 2), than a little inside and outside it, (K,)."""
    middle = tried.mean(axis=1, keepdims=True)
    along = sample(share, tried)
    gain: NDArray[np.float64] = along.mean(axis=1, dtype=np.float64) + CLOSED * np.quantile(along, FAINTEST, axis=1)
    for scale, weight in BESIDE:
        gain = gain - weight * np.maximum(sample(share, middle + scale * (tried - middle)), 0).mean(axis=1)
    return gain
