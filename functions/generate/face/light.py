"""Match light, color and grain of one face to another aligned with it: low and high frequencies in LAB."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face.gaussian import blur
from functions.generate.face.strips import RowEnlarger, list_strips, repeat
from functions.generate.face.working_size import WorkingSize
from shared.imaging.array_types import Image, Mask
from shared.imaging.quantization import require_finite, round_shares

Lab = NDArray[np.float32]
"""(H, W, 3): lightness 0 to 100, a and b about -128 to 127."""
Lightness = NDArray[np.float32]
"""(H, W), 0 to 100."""
LowLight = NDArray[np.float32]
"""(H, W, 8): the skin's change in LAB, its LAB, the share of color contrasts that is lost where the light gets dimmer,
as a negative number, and the lightness of the base's skin."""

WORKING_WIDTH = 160  # pixels across the face where low frequencies are estimated
# sigma of the Gaussian in face widths: takes the light over a face, and leaves cheekbones, eye sockets and folds. With
# 0.12 these are half the template's, and two recognizers find portraits 0.004 to 0.006 farther from the person
REACH = 0.2
BORDER_REACH = 0.035  # the same along the face's border, where a jaw turns away from the light within 0.1 face widths
TRUST = 0.02  # where the mask's weight is below this, the estimate tends to the face's mean
SHIFT_LIMIT = np.array([70.0, 40.0, 45.0], np.float32)  # largest change of light or color, per channel
KNEE = 90.0  # lightness above which brightening is compressed, so that teeth and highlights do not burn out
SKIN_SPREAD = (22.0, 11.0, 13.0)  # of one skin from highlight to shade, per channel; twice as far is hair or glasses
WHITES = 0.9  # quantile of the lightness in the eyes; lighter is the white of the eye, which is alike in all people
SAMPLING_SIDE = 400  # pixels per row sampled to find the skin's median color; more give the same median
GRAIN_SIDE = 1000  # pixels per row sampled to measure grain
DARKEST = 0.25  # darkest share of the bare face that is left out, since it may be a beard
BANDS = (0.004, 0.012)  # sigmas in face widths that bound the bands of detail: film grain, then pores and lashes
FINEST = 0.4  # pixels; a narrower Gaussian changes nothing
SHARES = np.arange(256, dtype=np.float32) * np.float32(1 / 255)  # of the brightest level, by level
# linear light of each level, as sRGB defines it; its weights in the luminance; up to which luminance the lightness is
# proportional to it, and by how much
LINEAR = np.where(SHARES <= 0.04045, SHARES / 12.92, ((SHARES + 0.055) / 1.055) ** 2.4).astype(np.float32)
LUMINANCE = np.array([[0.212671, 0.715160, 0.072169]], np.float32)
DIMMEST, DIMMEST_SLOPE = 216 / 24389, 24389 / 27
# the gray level of each lightness from 0 to 100, in steps of a hundredth; a level is a quarter of one at least
GRAYS = np.interp(
    np.linspace(0, 100, 10_001),
    np.where(LINEAR < DIMMEST, DIMMEST_SLOPE * LINEAR, 116 * np.cbrt(LINEAR) - 16),
    np.arange(256),
).round().astype(np.uint8)  # fmt: skip
SEEN = 4.0  # sigmas; what is farther away has no effect on a Gaussian
GRAIN_GAIN = (0.7, 2.2)  # bounds of the factor on a band
EDGE = 4.0  # in units of the grain's strength; stronger detail is an edge
NOISE = (0.8, 0.4)  # per band, share of the missing detail filled with noise; coarser noise looks like orange peel
GRAIN_SEED = 68  # fixed, so that every run gives the same grain
DARKENING = (-8.0, -24.0)  # change of lightness up to which highlights keep their height, and from which they scale
BRIGHTEST = 1.5  # relative to the skin's lightness; brighter highlights are darkened no more than this
# chroma relative to lightness, in that of the skin, down to which skin is matte, and from which down it is a highlight,
# which has the lamp's color: in the mean of both, dark skin is gray
MATTE, GLOSSY = 0.85, 0.5
LEAST_CONTRAST = 0.4  # share of its color contrast that a face keeps in the dimmest light
DARK = 0.6  # relative to the skin's lightness; darker pixels (hair, lashes, pupils) take less of the color shift


def to_lab(image: Image) -> Lab:
    """Convert RGB, uint8, to LAB, float32."""
    lab = np.empty(image.shape, np.float32)
    for rows in list_strips(image.shape):
        lab[rows] = cv2.cvtColor(cv2.LUT(image[rows], SHARES), cv2.COLOR_RGB2LAB)
    return lab


def to_lightness(image: Image) -> Lightness:
    """Convert RGB, uint8, to the lightness of LAB alone, float32, (H, W), in a fifth of the time of `to_lab`."""
    lightness = np.empty(image.shape[:2], np.float32)
    for rows in list_strips(image.shape):
        shining = cv2.transform(cv2.LUT(image[rows], LINEAR), LUMINANCE)
        made = np.cbrt(shining)
        made *= 116
        made -= 16
        np.copyto(made, shining * np.float32(DIMMEST_SLOPE), where=shining < DIMMEST)
        lightness[rows] = made
    return lightness


def to_gray(image: Image) -> Image:
    """Return RGB, uint8, with each pixel as the gray of its lightness, all channels equal."""
    level = np.take(
        GRAYS, np.rint(to_lightness(image) * np.float32((len(GRAYS) - 1) / 100)).astype(np.int32), mode="clip"
    )
    gray: Image = cv2.merge([level, level, level])
    return gray


def to_rgb(lab: Lab) -> Image:
    """Convert LAB, float32, to RGB, uint8, rounded.

    Raises:
        PictureFailed: a value is not finite.
    """
    image = np.empty(lab.shape, np.uint8)
    for rows in list_strips(lab.shape):
        # checked first: the conversion would turn values that are not finite into black
        image[rows] = round_shares(cv2.cvtColor(require_finite(lab[rows]), cv2.COLOR_LAB2RGB))
    return image


def to_levels(lab: Lab) -> NDArray[np.float32]:
    """Convert LAB, float32, to RGB in levels that are not rounded, 0 to 255."""
    rgb: NDArray[np.float32] = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    rgb *= 255
    return rgb


def limit_overshoot(raised: Lightness, lightness: Lightness, share: float, radius: float) -> Lightness:
    """Limit a raised lightness, (H, W), to the range of each pixel's neighborhood before: beyond it are halos.

    Args:
        raised, lightness: after and before, (H, W).
        share: how far a pixel may leave that range, in ranges.
        radius: of the neighborhood in pixels.
    """
    side = 2 * max(1, round(radius)) + 1
    kernel = np.ones((side, side), np.uint8)
    lowest, highest = cv2.erode(lightness, kernel), cv2.dilate(lightness, kernel)
    room = np.float32(share) * (highest - lowest)
    lowest -= room
    highest += room
    limited: Lightness = cv2.min(cv2.max(raised, lowest), highest)
    return limited


def skin_likeness(lab: Lab, where: Mask) -> Mask:
    """Return how much each pixel looks like the skin under `where`, 0 to 1, (H, W); low for beard, hair and frames.

    Args:
        lab: the face, (H, W, 3).
        where: mask of the bare face, (H, W); most of it must be skin.
    """
    every = max(1, max(where.shape) // SAMPLING_SIDE)
    inside = lab[::every, ::every][where[::every, ::every] > 0.5]
    if len(inside) == 0:
        return np.zeros(lab.shape[:2], np.float32)
    # without the darkest pixels, so that the median of a bearded face is that of the skin
    bright = inside[inside[:, 0] >= np.quantile(inside[:, 0], DARKEST)]
    middle = np.median(bright, axis=0)
    scale = 1 / np.array(SKIN_SPREAD)
    scaled = np.column_stack([np.diag(scale), -scale * middle]).astype(np.float32)
    falling = np.array([[-0.25, -0.25, -0.25, 0.25]], np.float32)  # of the squared distances' sum, less 1
    weight = np.empty(lab.shape[:2], np.float32)
    for rows in list_strips(lab.shape):
        away = cv2.transform(lab[rows], scaled)
        away *= away
        exponent = cv2.transform(away, falling)
        np.minimum(exponent, 0, out=exponent)
        weight[rows] = cv2.exp(exponent)
    return weight


def matte(lab: Lab, skin: Mask) -> Mask:
    """Return how much each pixel shows the skin's own color, and not a highlight's, 0 to 1, (H, W).

    All of LAB is proportional to the cube root of the light, so that chroma rises with lightness where skin is matte;
    a highlight is lighter than most of the skin, and paler for it.

    Args:
        lab: the face, (H, W, 3).
        skin: weight of the pixels that show its skin, (H, W).
    """
    every = max(1, max(skin.shape) // SAMPLING_SIDE)
    inside = lab[::every, ::every][skin[::every, ::every] > 0.5]
    if len(inside) == 0:
        return np.ones(skin.shape, np.float32)
    lightness, *tint = np.median(inside, axis=0)
    usual = max(float(np.hypot(*tint)), 1.0) / max(float(lightness), 1.0)
    relative = cv2.magnitude(lab[..., 1], lab[..., 2]) / (usual * np.maximum(lab[..., 0], 1))
    shown: Mask = np.clip((relative - GLOSSY) / (MATTE - GLOSSY), 0, 1).astype(np.float32)
    shown[lab[..., 0] <= lightness] = 1
    return shown


@dataclass(frozen=True)
class Tone:
    """How a face's contrasts in lightness change in another picture's light.

    Attributes:
        modeled: 1 for ordinary light, in which contrasts stay as they are; 0 for light in which they are scaled.
        contrast: factor on the contrasts, at most 1, in light too dim, too bright or too flat for all of them.
    """

    modeled: float = 1.0
    contrast: float = 1.0

    def between(self, ordinary: NDArray[np.float32], scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate: return `ordinary` in ordinary light, `scaled` in the other light, by `modeled`."""
        mixed: NDArray[np.float32] = scaled + np.float32(self.modeled) * (ordinary - scaled)
        return ordinary if self.modeled >= 1 else mixed


ORDINARY = Tone()


@dataclass(frozen=True, eq=False)
class Border:
    """Where a face ends: there its light is matched more closely, since what surrounds it is seen beside it.

    Attributes:
        near: how closely the light is matched, (H, W): up to 1 along the border, 0 inside of the face.
        skin_drawn, skin_base: weights, (H, W), of the pixels that show skin, up to the border and also in the shade.
    """

    near: Mask
    skin_drawn: Mask
    skin_base: Mask


def equalize(drawn: Lab, base: Lab, skin_drawn: Mask, skin_base: Mask, width: float, tone: Tone = ORDINARY) -> Lab:
    """Compute the shift that gives `drawn` the low-frequency light and color of the skin of `base`.

    Args:
        drawn, base: LAB, (H, W, 3), aligned to each other.
        skin_drawn, skin_base: weights, (H, W), of the pixels that show skin. Only these pixels are used for the
            estimates.
        width: the face's width in pixels.
        tone: how the contrasts of `drawn` change.

    Returns:
        float32, (H, W, 3), to be added to `drawn`. It is smooth except for the color of dark pixels, and within
        SHIFT_LIMIT except for the lightness in light that is not ordinary.

    Normalized convolution after Knutsson & Westin (1993), so that the mask's border does not darken the estimate.
    """
    low = RowEnlarger(measure_light(drawn, base, skin_drawn, skin_base, width), drawn.shape[:2])
    result = np.empty_like(drawn)
    for rows in list_strips(drawn.shape):
        result[rows] = shift_light(drawn[rows], cv2.split(low.cut(rows)), tone)
    return result


def measure_light(
    drawn: Lab, base: Lab, skin_drawn: Mask, skin_base: Mask, width: float, border: Border | None = None
) -> LowLight:
    """Measure the low-frequency light and color of the skin of both faces; arguments as in `equalize`.

    `border` says where the faces end; None measures everywhere alike.

    Returns:
        (h, w, 8), at most WORKING_WIDTH pixels across the face.
    """
    working = WorkingSize.of(drawn.shape, width, WORKING_WIDTH)
    sigma = REACH * min(width, WORKING_WIDTH)
    small_drawn, small_base = working.reduce(drawn), working.reduce(base)
    low_drawn = _estimate_low(small_drawn, working.reduce(skin_drawn), sigma)
    low_base = _estimate_low(small_base, working.reduce(skin_base), sigma)
    if border is not None:
        near, sigma = repeat(working.reduce(border.near)), BORDER_REACH * min(width, WORKING_WIDTH)
        low_drawn += near * (_refine_low(small_drawn, working.reduce(border.skin_drawn), sigma, low_drawn) - low_drawn)
        low_base += near * (_refine_low(small_base, working.reduce(border.skin_base), sigma, low_base) - low_base)
    # black has no color to shift and gray none to lose: else black and gray brows turn blue as brown skin becomes pale
    change = np.clip(low_base - low_drawn, -SHIFT_LIMIT, SHIFT_LIMIT)
    kept = np.clip(low_base[..., :1] / np.maximum(low_drawn[..., :1], 1), LEAST_CONTRAST, 1) - 1
    return np.dstack([change, low_drawn, kept, low_base[..., :1]])


def shift_light(drawn: Lab, low: Sequence[NDArray[np.float32]], tone: Tone = ORDINARY) -> Lab:
    """Compute the shift of `equalize` from the light of both faces, `measure_light`, enlarged to the drawn face's size.

    In dim light every camera sees lips as less red: lightness and chroma shrink by the same factor, since all of LAB is
    proportional to the cube root of the light.

    Args:
        drawn: LAB, (H, W, 3).
        low: the eight planes of `LowLight`, (H, W) each; they are overwritten.
        tone: how the contrasts change.
    """
    lightness, a, b = cv2.split(drawn)
    change, change_a, change_b, level, level_a, level_b, lost, wanted = low
    relative = lightness / np.maximum(level, 1)
    taken = np.clip(relative * np.float32(1 / DARK), 0, 1)
    taken *= _share_of_shift((a, b), (level_a, level_b), (change_a, change_b))
    shift = change * np.clip(relative, 0, highest_share(change))
    if tone.modeled < 1:
        shift = tone.between(shift, wanted + np.float32(tone.contrast) * (lightness - level) - lightness)
    for own, at, color in ((a, level_a, change_a), (b, level_b, change_b)):
        color *= taken
        color += (own - at) * lost
    result: Lab = cv2.merge([shift, change_a, change_b])
    return result


def highest_share(change: Lightness) -> Lightness:
    """Return the lightness relative to the skin's, from which on a shift of lightness, (H, W), grows no further.

    Dark skin scales all contrasts of a light person: highlights that keep their height look like ash on it.
    """
    darker: Lightness = np.clip((DARKENING[0] - change) / (DARKENING[0] - DARKENING[1]), 0, 1)
    return 1 + (BRIGHTEST - 1) * darker


Tints = tuple[NDArray[np.float32], NDArray[np.float32]]


def _share_of_shift(drawn: Tints, level: Tints, shift: Tints) -> Mask:
    """Return the share of a color shift that each pixel takes, 0 to 1, (H, W).

    Where the shift makes the skin paler, a pixel takes as large a share as it has of the skin's color; elsewhere 1.

    Args:
        drawn, level: a and b of the face, and of the low frequencies of its skin, (H, W) each.
        shift: the change of the skin's color, likewise.
    """
    along, whole, paler = (one[0] * level[0] + one[1] * level[1] for one in (drawn, level, shift))
    share: Mask = np.clip(along / np.maximum(whole, 1), 0, 1).astype(np.float32, copy=False)
    share[paler >= 0] = 1
    return share


def compress_highlights(lightness: Lightness, before: Lightness) -> Lightness:
    """Return the lightness with values raised above KNEE compressed; values that were as bright before stay.

    Args:
        lightness, before: after and before the brightening, (H, W).
    """
    limit = np.maximum(before, KNEE)
    over = np.maximum(lightness - limit, 0)
    return np.minimum(lightness, limit + over / (1 + over / 6))


def compress_gain(gain: Lightness, lightness: Lightness, before: Lightness) -> Lightness:
    """Return what `compress_highlights` leaves of the factor on fine detail of the lightness, (H, W).

    Args:
        gain: the factor without the compression.
        lightness, before: after and before the brightening, (H, W).
    """
    slope = np.square(1 / (1 + np.maximum(lightness - np.maximum(before, KNEE), 0) / 6))
    kept: Lightness = np.where(before > KNEE, 1 + (gain - 1) * slope, gain * slope).astype(np.float32)
    return kept


def match_grain(mixed: Lab, skin_mixed: Mask, template: Lab, skin_template: Mask, width: float) -> Lightness:
    """Return the lightness of `mixed` with as much fine detail on its skin as on the template's, band by band.

    A photo smaller than the template is too smooth, a larger one too sharp, and mixing two textures smooths both. Each
    band is scaled by a factor within GRAIN_GAIN. If detail is still missing, noise like that of film and sensors is
    added: the template's own texture would bring its wrinkles and the rims of its glasses with it.

    Args:
        mixed, template: LAB; the two may differ in size.
        skin_mixed, skin_template: masks of their skin.
        width: the face's width in pixels.
    """
    lightness = np.ascontiguousarray(mixed[..., 0])
    wanted = measure_grain(template[..., 0], skin_template, width)
    return raise_grain(lightness, skin_mixed, wanted, width, lambda: draw_noise(lightness.shape))


def draw_noise(size: tuple[int, ...]) -> Lightness:
    """Return normal noise of variance 1, (H, W), the same for the same size."""
    return np.random.default_rng(GRAIN_SEED).standard_normal(size, dtype=np.float32)


def measure_grain(lightness: Lightness, skin: Mask, width: float) -> tuple[float, ...]:
    """Return how strong the fine detail on a face's skin is in each of the bands; 0 where too little skin shows.

    `width` is the face's width in pixels.
    """
    lightness = np.ascontiguousarray(lightness)
    return tuple(
        _strength(_band(lightness, finer * width, coarser * width), skin) for finer, coarser in pairwise((0.0, *BANDS))
    )


def measure_sharpness(lightness: Lightness, where: Mask) -> float:
    """Return the variance of a lightness's Laplacian under a mask, both (H, W), after Pech-Pacheco et al. (2000)."""
    edges = cv2.Laplacian(np.ascontiguousarray(lightness), cv2.CV_32F)
    return measure_spread(edges, (where > 0.5).view(np.uint8))[1] ** 2


def measure_whites(lightness: Lightness, eyes: NDArray[np.bool_]) -> float:
    """Return the lightness of the whites of the eyes, whose pixels, (H, W), are given; at the picture's full size."""
    return float(np.quantile(lightness[eyes], WHITES))


def sum_channels(planes: Lab) -> NDArray[np.float32]:
    """Return the sum of each channel, (3,), in a tenth of the time that NumPy takes."""
    return np.array(cv2.sumElems(planes)[: planes.shape[2]], np.float32)


def measure_spread(plane: NDArray[np.float32], counted: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the mean and the standard deviation of a plane, (H, W), where `counted` is not 0; 0 if that is nowhere."""
    middle, spread = cv2.meanStdDev(plane, mask=counted)
    return float(middle[0, 0]), float(spread[0, 0])


def raise_grain(
    lightness: Lightness, skin: Mask, wanted: Sequence[float], width: float, draw: Callable[[], Lightness]
) -> Lightness:
    """Return a face's lightness, (H, W), with its fine detail as strong as `measure_grain` says of the template's.

    `draw` makes the noise, (H, W), if any is needed.
    """
    result = lightness.copy()
    noise: Lightness | None = None
    for (finer, coarser), strength_wanted, most in zip(pairwise((0.0, *BANDS)), wanted, NOISE, strict=True):
        own = _band(lightness, finer * width, coarser * width)
        strength_own = _strength(own, skin)
        if strength_own == 0 or strength_wanted == 0:
            continue
        ratio = strength_wanted / strength_own
        gain = float(np.clip(ratio, *GRAIN_GAIN))
        _add_detail(result, own, gain, EDGE * strength_own)
        if ratio > gain:
            if noise is None:
                noise = draw()
            added = _band(noise, finer * width, coarser * width)
            missing = float(np.sqrt(1 - (gain / ratio) ** 2)) * most
            result += np.float32(missing * strength_wanted / float(added.std())) * added
    return result


def _add_detail(lightness: Lightness, detail: Lightness, gain: float, edge: float) -> None:
    """Scale a band of detail in a face's lightness by a factor, in place; what is stronger than `edge` is not raised.

    Lashes, lips and wrinkles are not grain: they look etched if they are raised with it.
    """
    for rows in list_strips(lightness.shape):
        part = detail[rows]
        if gain > 1:
            weak = np.square(part * np.float32(1 / edge))
            weak += 1
            part = part / weak
        lightness[rows] += np.float32(gain - 1) * part


def _estimate_low(lab: Lab, weight: Mask, sigma: float) -> Lab:
    """Estimate low frequencies: of the lightness of all skin, and of the color of matte skin."""
    colored = weight * matte(lab, weight)
    total = float(colored.sum())
    if total < 1e-3:
        return np.broadcast_to(lab.reshape(-1, 3).mean(axis=0), lab.shape).astype(np.float32)
    weights = cv2.merge([weight, colored, colored])
    weighted = lab * weights
    mean = sum_channels(weighted) / sum_channels(weights)
    blurred, amount = (blur(one, sigma, cv2.BORDER_CONSTANT) for one in (weighted, weights))
    low: Lab = (blurred + TRUST * mean.astype(np.float32)) / (amount + TRUST)
    return low


def _refine_low(lab: Lab, weight: Mask, sigma: float, low: Lab) -> Lab:
    """Estimate low frequencies more closely, with a narrower Gaussian; where the weight is small, `low` stays."""
    seen = cv2.GaussianBlur(lab * repeat(weight), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    amount = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)[..., None]
    refined: Lab = (seen + TRUST * low) / (amount + TRUST)
    return refined


def _band(lightness: Lightness, finer: float, coarser: float) -> Lightness:
    """Return the difference of two Gaussians, sigmas in pixels; a `finer` one up to FINEST is no blur at all."""
    band = blur(lightness, max(coarser, FINEST + 0.4))
    np.subtract(blur(lightness, finer) if finer > FINEST else lightness, band, out=band)
    return band


def _strength(high: Lightness, where: Mask) -> float:
    """Return the root mean square on the skin, without the strongest tenth, which is edges and wrinkles, not grain."""
    every = max(1, max(where.shape) // GRAIN_SIDE)
    values = np.abs(high[::every, ::every][where[::every, ::every] > 0.5])
    if len(values) < 16:
        return 0.0
    kept = values[values <= np.quantile(values, 0.9)]
    return float(np.sqrt(np.square(kept).mean()))
