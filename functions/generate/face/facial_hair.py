"""Facial hair: where a face has moustache and beard, inside its outline and beyond it.

    the face upright, WIDTH pixels wide --each pixel beside the cheeks' skin--> likeness of hair
    lip, chin and jaws, described --> how surely there is a moustache, a beard on the chin, one on the jaws
    likeness inside the outline, colors of hair and of all else --graph cut--> the hair, beyond the outline too

Hair is darker or grayer than the skin, and rougher. Shade is darker but not grayer, grain is rougher but not darker:
a logistic model of all of them together tells hair from both. It was fitted to labeled faces by
`benchmarks/facial_hair.py`, which also says how often it is right on faces that it has not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.landmarks import LIPS, fit_upright
from functions.generate.face.light import Lab
from shared.faces.antialiased_warp import warp_antialiased
from shared.imaging.array_types import Mask, Points

WIDTH = 128  # pixels across the upright face
SIDE = 288  # pixels of the upright square; it reaches 0.6 face widths below the chin
SIZE = (SIDE, SIDE)
MARGIN = 0.6  # face widths around the face that a picture must have for all of that
SMOOTH, DETAIL, AREA = 1.2, 2.5, 4.0  # sigmas in pixels: of colors, of the detail's band, and of its strength
STRONGEST = 12.0  # lightness; stronger detail is an edge
PALEST = 4.0  # chroma that color differences are relative to at least; a gray picture has none
LOWEST = np.array([-1.0, -1.5, -1.5, -1.0, -1.0], np.float32)  # bounds of the features
HIGHEST = np.array([0.6, 1.0, 1.0, 2.0, 2.0], np.float32)
FEATURES = 5
FEWEST = 12  # pixels from which a region can be judged; the far side of a turned face has fewer
# the model: of the features, of their products in the order of np.triu_indices, and of 1
OF_FEATURES = [1.51, -3.1, -3.17, -0.03, 2.35]
OF_PRODUCTS = [4.04, -3.83, 0.59, -3.77, -0.53, 0.88, 5.01, -0.79, 0.51, 0.25, -0.74, 1.71, -0.11, -0.7, -0.3]
WEIGHTS = np.array([*OF_FEATURES, *OF_PRODUCTS, -2.89], np.float32)
# rows: moustache, chin, jaws; columns: what `describe_regions` returns, and 1
PRESENCE = np.array(
    [
        [
            6.36, 2.71, 0.45, 1.36, -4.98, -5.14, 0.43, -0.43, -0.87, -9.27, 2.99, -1.53, -3.1, -10.47, -0.44, 1.29,
            -0.21, 0.47, 0.92, -0.47, -0.17, 3.01, -1.11, -1.26, 2.44, 2.8, -1.12, -0.07, -0.19, 0.96, 7.82, -2.22,
            -0.72, -0.43, -1.35,
        ],
        [
            2.02, 5.33, 1.26, 0.68, -2.72, -1.55, 2.38, -0.19, 0.21, -8.67, 1.78, -5.46, -1.58, -2.84, -2.25, -3.89,
            -2.38, 0.8, 1.69, -3.83, 14.6, 7.6, -3.56, -5.18, 0.43, 0.28, 0.06, -0.2, -0.29, 1.11, 0.71, 0.43, -1.12,
            -1.46, -4.47,
        ],
        [
            1.62, 4.71, 2.39, 2.66, -2.14, -0.3, 0.52, 0.29, -0.4, -8.85, 2.7, -2.31, -1.75, -0.55, -0.71, -3.53, -3.31,
            1.15, 1.09, -0.93, 6.09, 5.42, -1.48, -6.07, 2.14, 0.21, -1.12, 0.19, -0.91, 0.35, 1.89, 1.64, -0.75, -0.91,
            -4.74,
        ],
    ],
    np.float32,
)  # fmt: skip
# how surely lip, chin and jaws have hair, from where on it counts, and from where on it counts in full. A face taken
# for bearded loses its neck, so that thin beards are left to the fusion: of bare chins of people that the model had not
# seen 2 % count, 1 % in full; 23 % of the bearded are missed
UNSURE, SURE = np.array([0.60, 0.70, 0.70]), np.array([0.85, 0.85, 0.85])
# mean likeness of the chin from which hair on chin and jaws counts, and from which it counts in full: where the chin is
# bare, a neighbor's hair or a shirt lies before the jaws. Labeled beards have 0.40 at least
BARE_CHIN = (0.37, 0.40)
# likeness from which a pixel is certainly hair: a quantile of the regions that have hair, within bounds, since in dim
# or colored light little is certain. It is probably hair if it has at most LESS less, beyond the outline half of LESS
QUANTILE, CERTAIN, LESS = 0.6, (0.55, 0.8), 0.3
SKIN_HUE = np.array([0.63, 0.78], np.float32)  # direction of skin's a and b, from gray
UNNATURAL = 20.0  # distance in a and b from that direction that hair has only in colored light
SEEDS = 20  # certain pixels from which hair can be cut out
BESIDE, BELOW = 0.08, 0.50  # face widths that hair is followed beyond the outline: beside the jaws and below the chin
# squared Mahalanobis distances to the hair inside the outline: up to the first, a pixel beyond it is probably hair;
# from the second on, it is none
LIKE, UNLIKE = 14.0, 25.0
LIGHTEST = 0.95  # quantile of the lightness of hair inside the outline
ROUGHNESS = 10.0  # lightness that one unit of the detail's logarithm counts for in that distance: collars are smooth
THIN = 13  # pixels; what is narrower beyond the outline is a crease of the neck or the edge of a collar
WHISKERS, FADE = (
    0.18,
    0.12,
)  # face widths above the nose's base that beards reach at the temples, and over which they fade
ROUNDS = 2  # of the graph cut
SEED = 15  # of its random numbers, fixed so that every run gives the same mask
SOFTNESS = 0.012  # face widths, sigma of the mask's border
NEAR, LONG = 0.05, 0.004  # face widths before BELOW; squared face widths of hair there, from which the beard is longer
NECK, WIDE = 0.5, 0.008  # half the width of a neck, in face widths; squared face widths of hair beside it
# how surely there must be a moustache that hangs over the lip; of 755 faces 9 with less have a dark upper lip, and none
# of them hair over it
HANGING = 0.5
COVERED = 0.6  # share of the upper lip that looks like hair, from which the moustache hangs over it

Features = NDArray[np.float32]
"""(..., 5): lightness, a and b relative to the cheeks' skin, detail relative to theirs, and relative to the light."""


@dataclass(frozen=True, eq=False)
class FacialHair:
    """The facial hair of one face.

    Attributes:
        mask: where it is, (H, W); all 0 for a face without.
        moustache, chin, jaw: how surely each of them has hair, 0 to 1.
        long: whether the beard goes on where the mask ends.
        wide: whether it spreads beyond what a neck would hide.
        over_lips: whether hair hangs over the upper lip.
    """

    mask: Mask
    moustache: float
    chin: float
    jaw: float
    long: bool
    wide: bool
    over_lips: bool

    @classmethod
    def none(cls, size: tuple[int, int]) -> "FacialHair":
        """Return no facial hair, for a picture of that height and width."""
        return cls(np.zeros(size, np.float32), 0.0, 0.0, 0.0, False, False, False)

    @classmethod
    def of(cls, lab: Lab, points: Points) -> "FacialHair":
        """Find the facial hair of the face with the landmarks `points`, (68, 2), in a picture, LAB, (H, W, 3)."""
        upright = UprightFace.of(lab, points)
        features = measure_features(upright)
        if features is None:
            return cls.none(lab.shape[:2])
        natural = _has_natural_color(upright.lab)
        likeness = hair_likeness(features) * natural
        moustache, chin, jaw = _ramp(judge_regions(features, likeness, natural, upright.points))
        if max(moustache, chin, jaw) == 0:
            return cls.none(lab.shape[:2])
        surely = _spread(upright.points, moustache, chin, jaw)
        hair, long = _cut_out(upright, features, likeness, surely)
        wide = float(hair[:, _beside_neck(upright.points)].sum()) > WIDE * WIDTH**2
        if not hair.any():
            return cls.none(lab.shape[:2])
        lips = masks.lips(upright.points, SIZE)
        soft = cv2.GaussianBlur(hair * surely, (0, 0), SOFTNESS * WIDTH) * (1 - lips)
        over = moustache > HANGING and _covers_lips(upright, hair)
        return cls(upright.back(soft, lab.shape[:2]), moustache, chin, jaw, long, wide, over)


@dataclass(frozen=True, eq=False)
class UprightFace:
    """A face WIDTH pixels wide whose eyes are level.

    Attributes:
        lab: LAB, (SIDE, SIDE, 3).
        points: its landmarks, (68, 2), in pixels of `lab`.
        matrix: affine map from the picture to it, (2, 3).
    """

    lab: Lab
    points: Points
    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, lab: Lab, points: Points) -> "UprightFace":
        """Take the face with the landmarks `points`, (68, 2), out of a picture, LAB, (H, W, 3)."""
        matrix = fit_upright(points, WIDTH, (SIDE / 2, 0.45 * SIDE))
        return cls(warp_antialiased(lab, matrix, SIDE), points @ matrix[:, :2].T + matrix[:, 2], matrix)

    def back(self, mask: Mask, size: tuple[int, int]) -> Mask:
        """Return a mask of the upright face as one of the picture, which has that height and width."""
        there = cv2.warpAffine(mask, self.matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        placed: Mask = np.clip(there, 0, 1)
        return placed


def measure_features(face: UprightFace) -> Features | None:
    """Return each pixel's features, (SIDE, SIDE, 5); None if the cheeks are not visible.

    Lightness and color are relative to the cheeks' skin, interpolated between both cheeks because of light from a side.
    """
    cheeks = [_fill(cheek) for cheek in _cheeks(face.points)]
    seen = [cheek for cheek in cheeks if np.count_nonzero(cheek) >= FEWEST]
    if not seen:
        return None
    smooth = cv2.GaussianBlur(face.lab, (0, 0), SMOOTH)
    lightness = face.lab[..., 0]
    detail = np.clip(lightness - cv2.GaussianBlur(lightness, (0, 0), DETAIL), -STRONGEST, STRONGEST)
    rough = np.sqrt(cv2.GaussianBlur(np.square(detail), (0, 0), AREA))
    middles = [float(np.nonzero(cheek)[1].mean()) for cheek in seen]
    colors = np.array([np.median(smooth[cheek], axis=0) for cheek in seen], np.float32)
    x = np.arange(SIZE[1])
    skin = np.stack([np.interp(x, middles, colors[:, channel]) for channel in range(3)], axis=1).astype(np.float32)
    light = np.maximum(skin[:, 0], 1)
    chroma = np.maximum(np.hypot(skin[:, 1], skin[:, 2]), PALEST)
    usual = float(np.sqrt(np.square(detail[np.logical_or.reduce(seen)]).mean()))
    features = np.stack(
        [
            smooth[..., 0] / light - 1,
            (smooth[..., 1] - skin[:, 1]) / chroma,
            (smooth[..., 2] - skin[:, 2]) / chroma,
            np.log((rough + 0.3) / (usual + 0.3)),
            np.log(rough / light * 50 + 0.3),
        ],
        axis=-1,
    )
    bounded: Features = np.clip(features, LOWEST, HIGHEST).astype(np.float32)
    return bounded


def expand(features: Features) -> NDArray[np.float32]:
    """Return the terms of the model, (..., 21): the features, their products, and 1."""
    one, other = np.triu_indices(features.shape[-1])
    products = features[..., one] * features[..., other]
    return np.concatenate([features, products, np.ones_like(features[..., :1])], axis=-1)


def hair_likeness(features: Features) -> Mask:
    """Return how much each pixel looks like hair beside the cheeks' skin, 0 to 1, by features of shape (..., 5)."""
    return _logistic(expand(features) @ WEIGHTS)


def _has_natural_color(lab: Lab) -> NDArray[np.bool_]:
    """Return which pixels have a color between gray and skin, as all hair has, (SIDE, SIDE); shirts have others."""
    tint = cv2.GaussianBlur(lab[..., 1:], (0, 0), SMOOTH)
    along = np.maximum(tint @ SKIN_HUE, 0)
    off: NDArray[np.float32] = np.linalg.norm(tint - along[..., None] * SKIN_HUE, axis=-1)
    return off < UNNATURAL


def judge_regions(
    features: Features, likeness: Mask, natural: NDArray[np.bool_], points: Points
) -> NDArray[np.float32]:
    """Return how surely lip, chin and jaws have hair, (3,), on an upright face.

    Args:
        features: of all pixels, (SIDE, SIDE, 5).
        likeness: of hair, (SIDE, SIDE).
        natural: which pixels have a color that skin or hair has, (SIDE, SIDE).
        points: the face's landmarks, (68, 2).
    """
    lip, chin, *jaws = where = region_masks(points)
    described = describe_regions([features[one] for one in where], [likeness[one] for one in where])
    shares = [natural[one].mean() if one.any() else 0.0 for one in (lip, chin, jaws[0] | jaws[1])]
    judged = _logistic(PRESENCE[:, :-1] @ described + PRESENCE[:, -1]) * np.array(shares, np.float32)
    judged[1:] *= np.interp(described[1], BARE_CHIN, (0, 1))
    return judged


def describe_regions(features: Sequence[Features], likeness: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Describe lip, chin and jaws, (34,).

    The mean likeness of lip, chin and jaws, and the lesser of both jaws'; then of each of the three the features' means
    and standard deviations: a beard is mottled, shade is even.

    Args:
        features: of the pixels of lip, chin, left and right jaw, (N, 5) each.
        likeness: the same pixels' likeness of hair, (N,) each.
    """
    seen = [len(one) >= FEWEST for one in likeness]
    lip, chin, *jaws = (float(one.mean()) if enough else 0.0 for one, enough in zip(likeness, seen, strict=True))
    described = [lip, chin, (jaws[0] + jaws[1]) / 2, min(jaws)]
    for pixels in (features[0], features[1], np.concatenate(features[2:])):
        enough = len(pixels) >= FEWEST
        described += [*pixels.mean(axis=0), *pixels.std(axis=0)] if enough else [0.0] * 2 * FEATURES
    return np.array(described, np.float32)


def region_masks(points: Points) -> list[NDArray[np.bool_]]:
    """Return the masks of upper lip, chin, left and right jaw, (SIDE, SIDE) each, by landmarks of an upright face."""
    base = np.stack([np.interp(np.linspace(0, 4, 7), range(5), points[31:36, axis]) for axis in (0, 1)], axis=1)
    base[[0, -1]] = _between(base[[0, -1]], points[[48, 54]], 0.35)
    lip = _band(base, points[48:55], 0.3, 0.85)
    chin = _band(points[[59, 58, 57, 56, 55]], points[6:11], 0.35, 0.85)
    jaws = [_band(points[side], points[[corner]], 0.12, 0.5) for side, corner in (([3, 4, 5], 48), ([13, 12, 11], 54))]
    return [_fill(region) for region in (lip, chin, *jaws)]


def _cheeks(points: Points) -> list[Points]:
    """Return the outlines of both upper cheeks, where no beard grows."""
    both = []
    for lid, corner, temple, wing in ((41, 36, 2, 31), (46, 45, 14, 35)):
        ends = ((lid, wing, 0.3), (corner, temple, 0.35), (temple, wing, 0.35), (wing, lid, 0.25))
        both.append(np.array([_between(points[one], points[other], share) for one, other, share in ends]))
    return both


def _cut_out(face: UprightFace, features: Features, likeness: Mask, surely: Mask) -> tuple[Mask, bool]:
    """Return the mask of the hair, (SIDE, SIDE), and whether the beard goes on beyond it.

    The graph cut (Rother et al., "GrabCut", 2004) learns the colors of hair from what is surely hair, and those of all
    else from the skin above and from what is too far away to be a beard.
    """
    points = face.points
    within = _fill(cv2.convexHull(points[:27].astype(np.float32))[:, 0])
    lips = (
        cv2.dilate(_fill(cv2.convexHull(points[LIPS].astype(np.float32))[:, 0]).astype(np.uint8), np.ones((3, 3))) > 0
    )
    y = np.arange(SIZE[0], dtype=np.float32)[:, None]
    mouth, chin = points[LIPS, 1].mean(), points[8, 1]
    down = np.clip((y - mouth) / max(chin - mouth, 1), 0, 1)
    away = cv2.distanceTransform((~within).astype(np.uint8), cv2.DIST_L2, 5) / WIDTH
    limit = BESIDE + (BELOW - BESIDE) * down
    x = np.arange(SIDE)
    between = (x > points[36, 0]) & (x < points[45, 0])
    lower = (y > points[31:36, 1].mean() - np.where(between, 0, WHISKERS * WIDTH)) & ~lips & (surely > 0)
    inside = lower & within
    bearded = inside & (surely > 0.5)
    level = float(np.clip(np.quantile(likeness[bearded], QUANTILE), *CERTAIN)) if bearded.any() else CERTAIN[1]
    certain = inside & (likeness > level)
    if np.count_nonzero(certain) < SEEDS:
        return np.zeros(SIZE, np.float32), False
    reach = lower & ~within & (away < limit) & (y > points[31:36, 1].mean())
    unlike = _distance(np.dstack([cv2.GaussianBlur(face.lab, (0, 0), SMOOTH), ROUGHNESS * features[..., 4]]), certain)
    state = np.full(SIZE, cv2.GC_BGD, np.uint8)
    state[inside | reach & (unlike < UNLIKE)] = cv2.GC_PR_BGD
    state[inside & (likeness > level - LESS)] = cv2.GC_PR_FGD
    state[reach & (unlike < LIKE) & (likeness > level - LESS / 2)] = cv2.GC_PR_FGD
    state[certain] = cv2.GC_FGD
    chroma = np.hypot(face.lab[..., 1], face.lab[..., 2])
    looks = np.dstack([2.55 * face.lab[..., 0], 4 * chroma, 85 * (features[..., 4] + 1)])
    image = np.clip(looks, 0, 255).astype(np.uint8)
    top, left, right = int(points[27, 1]), max(int(points[:, 0].min()) - 24, 0), int(points[:, 0].max()) + 24
    part = slice(max(top, 0), SIZE[0]), slice(left, right)
    cut = np.ascontiguousarray(state[part])
    cv2.setRNGSeed(SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(image[part]), cut, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.zeros(SIZE, np.uint8)
    found[part] = (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)
    narrow, wide = (cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)) for side in (THIN - 2, THIN))
    core = _connected(cv2.erode(found, narrow), certain)  # a tie that only touches the beard is none of it
    hanging = cv2.dilate(core, wide) & found & ~within
    found = _connected(found * within, certain) | hanging
    end = reach & (away > limit - NEAR) & (down >= 1)
    return found.astype(np.float32), float(found[end].sum()) > LONG * WIDTH**2


def _distance(looks: NDArray[np.float32], hair: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each pixel's squared Mahalanobis distance to those under `hair`, in color and roughness, (SIDE, SIDE, 4).

    The lower half of a beard lies in the chin's shade, so being darker counts for nothing; what is lighter than nearly
    all of that hair is a collar, at an infinite distance.
    """
    known = looks[hair].astype(np.float64)
    spread = np.linalg.inv(np.cov(known.T) + np.diag([9.0, 4.0, 4.0, 4.0]))
    off = looks - np.median(known, axis=0)
    off[..., 0] = np.maximum(off[..., 0], 0)
    distance: NDArray[np.float64] = np.einsum("...i,ij,...j->...", off, spread, off)
    lighter = looks[..., 0] > np.quantile(known[:, 0], LIGHTEST)
    return np.where(lighter, np.inf, distance)


def _connected(found: NDArray[np.uint8], certain: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the parts of the mask that hold pixels that are certainly hair; specks and jackets hold none."""
    _, labels = cv2.connectedComponents(found)
    kept = np.isin(labels, np.unique(labels[certain & (found > 0)]))
    return (kept & (found > 0)).astype(np.uint8)


def _spread(points: Points, moustache: float, chin: float, jaw: float) -> Mask:
    """Return how surely each place of the lower face may have hair, (SIDE, SIDE), by how surely its region has."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    mouth = points[LIPS].mean(axis=0)
    half = 0.5 * (points[54, 0] - points[48, 0]) + 0.06 * WIDTH
    beside = np.abs(x - mouth[0]) > half
    sides = jaw * np.clip((y - points[31:36, 1].mean() + WHISKERS * WIDTH) / (FADE * WIDTH), 0, 1)
    surely = np.where(beside, sides, np.where(y < mouth[1], moustache, chin)).astype(np.float32)
    spread: Mask = cv2.GaussianBlur(surely, (0, 0), 0.03 * WIDTH)
    return spread


def _beside_neck(points: Points) -> NDArray[np.bool_]:
    """Return which columns of an upright face, (SIDE,), lie beside its neck."""
    off: NDArray[np.float64] = np.abs(np.arange(SIDE) - points[[4, 12], 0].mean())
    return off > NECK * WIDTH


def _covers_lips(face: UprightFace, hair: Mask) -> bool:
    """Return whether most of the upper lip is nearer in color to the hair than to the lower lip."""
    upper = _fill(face.points[[48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60]])
    lower = _fill(face.points[[54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64]])
    if min(np.count_nonzero(upper), np.count_nonzero(lower)) < FEWEST:
        return False
    lab = cv2.GaussianBlur(face.lab, (0, 0), SMOOTH)
    to_hair, to_lip = (
        np.linalg.norm(lab[upper] - np.median(lab[where], axis=0), axis=-1) for where in (hair > 0, lower)
    )
    return float(np.mean(to_hair < to_lip)) > COVERED


def _ramp(values: NDArray[np.float32]) -> list[float]:
    return [float(value) for value in np.clip((values - UNSURE) / (SURE - UNSURE), 0, 1)]


def _fill(outline: Points) -> NDArray[np.bool_]:
    canvas = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], 1)
    return canvas > 0


def _band(one: Points, other: Points, start: float, end: float) -> Points:
    """Return the outline of what lies between two shares of the way from one line to another."""
    return np.vstack([_between(one, other, start), _between(one, other, end)[::-1]])


def _between(one: Points, other: Points, share: float) -> Points:
    between: Points = one + share * (other - one)
    return between


def _logistic(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)
