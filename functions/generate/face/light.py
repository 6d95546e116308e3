"""Match light, color and grain of one face to another aligned with it: low and high frequencies in LAB."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.imaging.array_types import Image, Mask
from shared.imaging.quantization import require_finite, round_to_levels

Lab = NDArray[np.float32]
"""(H, W, 3): lightness 0 to 100, a and b about -128 to 127."""
Lightness = NDArray[np.float32]
"""(H, W), 0 to 100."""

WORKING_WIDTH = 160  # pixels across the face where low frequencies are estimated
REACH = 0.12  # sigma of the Gaussian in face widths: keeps shading, drops texture
TRUST = 0.02  # where the mask's weight is below this, the estimate tends to the face's mean
SHIFT_LIMIT = np.array([45.0, 40.0, 45.0], np.float32)  # largest change of light or color, per channel
KNEE = 90.0  # lightness above which brightening is compressed, so that teeth and highlights do not burn out
SKIN_SPREAD = (22.0, 11.0, 13.0)  # of one skin from highlight to shade, per channel; twice as far is hair or glasses
SAMPLING_SIDE = 400  # pixels per row sampled to find the skin's median color; more give the same median
DARKEST = 0.25  # darkest share of the bare face that is left out, since it may be a beard
BANDS = (0.004, 0.012)  # sigmas in face widths that bound the bands of detail: film grain, then pores and lashes
FINEST = 0.4  # pixels; a narrower Gaussian changes nothing
GRAIN_GAIN = (0.7, 2.2)  # bounds of the factor on a band
EDGE = 4.0  # in units of the grain's strength; stronger detail is an edge
NOISE = (0.8, 0.4)  # per band, share of the missing detail filled with noise; coarser noise looks like orange peel
GRAIN_SEED = 68  # fixed, so that every run gives the same grain
LEAST_CONTRAST = 0.4  # share of its color contrast that a face keeps in the dimmest light
DARK = 0.6  # relative to the skin's lightness; darker pixels (hair, lashes, pupils) take less of the color shift


def to_lab(image: Image) -> Lab:
    """Convert RGB, uint8, to LAB, float32."""
    lab: Lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


def to_rgb(lab: Lab) -> Image:
    """Convert LAB, float32, to RGB, uint8, rounded.

    Raises:
        PictureFailed: a value is not finite.
    """
    # checked first: the conversion would turn values that are not finite into black
    return round_to_levels(cv2.cvtColor(require_finite(lab), cv2.COLOR_LAB2RGB) * 255)


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
    room = share * (highest - lowest)
    limited: Lightness = np.clip(raised, lowest - room, highest + room)
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
    away = (lab - middle.astype(np.float32)) / np.array(SKIN_SPREAD, np.float32)
    distance = np.einsum("...c,...c->...", away, away)
    weight: Mask = np.exp(-0.5 * np.maximum(distance - 1, 0) / 2).astype(np.float32)
    return weight


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
    factor = min(1.0, WORKING_WIDTH / width)
    size = (max(1, round(drawn.shape[1] * factor)), max(1, round(drawn.shape[0] * factor)))
    sigma = REACH * width * factor
    low_drawn = _estimate_low(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), _reduce(skin_drawn, size), sigma)
    low_base = _estimate_low(cv2.resize(base, size, interpolation=cv2.INTER_AREA), _reduce(skin_base, size), sigma)
    shift = np.clip(low_base - low_drawn, -SHIFT_LIMIT, SHIFT_LIMIT)
    shift = cv2.resize(shift, drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    # black has no color to shift and gray none to lose: else black and gray brows turn blue as brown skin becomes pale
    level = cv2.resize(low_drawn, drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    lightness = level[..., 0]
    relative = drawn[..., 0] / np.maximum(lightness, 1)
    shift[..., 1:] *= (np.clip(relative / DARK, 0, 1) * _share_of_shift(drawn, level, shift))[..., None]
    shift[..., 0] *= np.clip(relative, 0, 1)
    if tone.modeled < 1:
        wanted = cv2.resize(low_base[..., 0], drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        own = drawn[..., 0] - lightness
        shift[..., 0] = tone.between(shift[..., 0], wanted + tone.contrast * own - drawn[..., 0])
    result: Lab = shift + _reduce_color_contrast(drawn, low_drawn, low_base)
    return result


def _share_of_shift(drawn: Lab, level: Lab, shift: Lab) -> Mask:
    """Return the share of a color shift that each pixel takes, 0 to 1, (H, W).

    Where the shift makes the skin paler, a pixel takes as large a share as it has of the skin's color; elsewhere 1.

    Args:
        drawn, level: LAB of the face, and the low frequencies of its skin, (H, W, 3).
        shift: the change of the skin's color, (H, W, 3).
    """
    along = np.einsum("...c,...c->...", drawn[..., 1:], level[..., 1:])
    whole = np.einsum("...c,...c->...", level[..., 1:], level[..., 1:])
    paler = np.einsum("...c,...c->...", shift[..., 1:], level[..., 1:]) < 0
    share: Mask = np.where(paler, np.clip(along / np.maximum(whole, 1), 0, 1), 1).astype(np.float32)
    return share


def _reduce_color_contrast(drawn: Lab, low_drawn: Lab, low_base: Lab) -> Lab:
    """Return the change, (H, W, 3), that reduces color contrasts where the light gets dimmer.

    In dim light every camera sees lips as less red: lightness and chroma shrink by the same factor, since all of LAB
    is proportional to the cube root of the light.
    """
    size = drawn.shape[1::-1]
    ratio = np.clip(low_base[..., 0] / np.maximum(low_drawn[..., 0], 1), LEAST_CONTRAST, 1)
    own = drawn[..., 1:] - cv2.resize(low_drawn[..., 1:], size, interpolation=cv2.INTER_LINEAR)
    change = np.zeros_like(drawn)
    change[..., 1:] = own * (cv2.resize(ratio, size, interpolation=cv2.INTER_LINEAR) - 1)[..., None]
    return change


def compress_highlights(lightness: Lightness, before: Lightness) -> Lightness:
    """Return the lightness with values raised above KNEE compressed; values that were as bright before stay.

    Args:
        lightness, before: after and before the brightening, (H, W).
    """
    limit = np.maximum(before, KNEE)
    over = np.maximum(lightness - limit, 0)
    return np.minimum(lightness, limit + over / (1 + over / 6))


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
    lightness = mixed[..., 0].copy()
    noise = np.random.default_rng(GRAIN_SEED).standard_normal(lightness.shape, dtype=np.float32)
    for finer, coarser, most in zip((0.0, *BANDS), BANDS, NOISE, strict=False):
        own, added, wanted = (
            _band(plane, finer * width, coarser * width) for plane in (mixed[..., 0], noise, template[..., 0])
        )
        strength_own, strength_wanted = _strength(own, skin_mixed), _strength(wanted, skin_template)
        if strength_own == 0 or strength_wanted == 0:
            continue
        ratio = strength_wanted / strength_own
        gain = float(np.clip(ratio, *GRAIN_GAIN))
        # lashes, lips and wrinkles are not grain: they look etched if they are raised with it
        lightness += (gain - 1) * (own / (1 + np.square(own / (EDGE * strength_own))) if gain > 1 else own)
        if ratio > gain:
            missing = float(np.sqrt(1 - (gain / ratio) ** 2)) * most
            lightness += missing * strength_wanted / float(added.std()) * added
    return lightness


def _estimate_low(lab: Lab, weight: Mask, sigma: float) -> Lab:
    total = float(weight.sum())
    if total < 1e-3:
        return np.broadcast_to(lab.reshape(-1, 3).mean(axis=0), lab.shape).astype(np.float32)
    mean = (lab * weight[..., None]).sum(axis=(0, 1)) / total
    blurred = cv2.GaussianBlur(lab * weight[..., None], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    amount = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)[..., None]
    low: Lab = (blurred + TRUST * mean.astype(np.float32)) / (amount + TRUST)
    return low


def _reduce(mask: Mask, size: tuple[int, int]) -> Mask:
    small: Mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return small


def _band(lightness: Lightness, finer: float, coarser: float) -> Lightness:
    """Return the difference of two Gaussians, sigmas in pixels; a `finer` one up to FINEST is no blur at all."""
    upper = cv2.GaussianBlur(lightness, (0, 0), finer) if finer > FINEST else lightness
    band: Lightness = upper - cv2.GaussianBlur(lightness, (0, 0), max(coarser, FINEST + 0.4))
    return band


def _strength(high: Lightness, where: Mask) -> float:
    """Return the root mean square on the skin, without the strongest tenth, which is edges and wrinkles, not grain."""
    values = np.abs(high[where > 0.5])
    if len(values) < 16:
        return 0.0
    kept = values[values <= np.quantile(values, 0.9)]
    return float(np.sqrt(np.square(kept).mean()))
