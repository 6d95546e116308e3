"""Light and color between two aligned faces: low frequencies in LAB, grain in the high ones."""

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
REACH = 0.12  # sigma of the light's Gaussian in face widths: keeps shading, drops texture
TRUST = 0.02  # weight below which the estimate leans on the face's mean
SHIFT_LIMIT = np.array([45.0, 40.0, 45.0], np.float32)  # the most that light or color may be changed, per channel
KNEE = 90.0  # lightness from where brightening is compressed, so that teeth and highlights do not burn out
SKIN_SPREAD = (22.0, 11.0, 13.0)  # of one skin from highlight to shade, per channel; twice that is hair or glasses
SAMPLING_SIDE = 400  # pixels in a row of which the middle of a skin is told; more tell the same
DARKEST = 0.25  # share of a bare face that a beard may take
BANDS = (0.004, 0.012)  # sigmas in face widths that bound the bands of detail: film grain, then pores and lashes
FINEST = 0.4  # pixels; a narrower Gaussian changes nothing
GRAIN_GAIN = (0.7, 2.2)  # bounds of the factor on a band
EDGE = 4.0  # times the grain's strength; what is stronger is an edge
NOISE = (0.8, 0.4)  # share of a band's missing detail that noise makes up; coarser noise would look like orange peel
GRAIN_SEED = 68  # the same grain on every run
LEAST_CONTRAST = 0.4  # share of its contrast in color that a face keeps in the dimmest light
DARK = 0.6  # of the skin's lightness, below which hair, lashes and pupils take less and less of its color shift


def to_lab(image: Image) -> Lab:
    """RGB uint8 as LAB in float32."""
    lab: Lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


def to_rgb(lab: Lab) -> Image:
    """LAB float32 as RGB uint8, rounded."""
    # looked at before: what the conversion makes of values that are no numbers is black
    return round_to_levels(cv2.cvtColor(require_finite(lab), cv2.COLOR_LAB2RGB) * 255)


def skin_likeness(lab: Lab, where: Mask) -> Mask:
    """How much each pixel looks like most of the bare face under `where`; beard, hair and frames get little."""
    every = max(1, max(where.shape) // SAMPLING_SIDE)
    inside = lab[::every, ::every][where[::every, ::every] > 0.5]
    if len(inside) == 0:
        return np.zeros(lab.shape[:2], np.float32)
    # without the darkest: of a bearded face, the median is to be the skin's
    bright = inside[inside[:, 0] >= np.quantile(inside[:, 0], DARKEST)]
    middle = np.median(bright, axis=0)
    away = (lab - middle.astype(np.float32)) / np.array(SKIN_SPREAD, np.float32)
    distance = np.einsum("...c,...c->...", away, away)
    weight: Mask = np.exp(-0.5 * np.maximum(distance - 1, 0) / 2).astype(np.float32)
    return weight


@dataclass(frozen=True)
class Tone:
    """How the contrasts of a face come into another picture's light.

    Attributes:
        modeled: 1 where they stay as they are, as in all ordinary light; 0 where they are scaled by `contrast`.
        contrast: factor on them, at most 1, in light so dim, bright or flat that it leaves no more.
    """

    modeled: float = 1.0
    contrast: float = 1.0

    def between(self, ordinary: NDArray[np.float32], scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """The one or the other, or what lies between, as far as the light is ordinary."""
        mixed: NDArray[np.float32] = scaled + np.float32(self.modeled) * (ordinary - scaled)
        return ordinary if self.modeled >= 1 else mixed


ORDINARY = Tone()


def equalize(drawn: Lab, base: Lab, skin_drawn: Mask, skin_base: Mask, width: float, tone: Tone = ORDINARY) -> Lab:
    """How `drawn` has to shift to get the low-frequency light and color that `base` has on its skin.

    Args:
        drawn, base: LAB, (H, W, 3), aligned to each other.
        skin_drawn, skin_base: weights, (H, W): where each shows skin. Estimates are made of these pixels only.
        width: of the face in pixels.
        tone: how the contrasts of `drawn` are to change.

    Returns:
        float32, (H, W, 3), to be added to `drawn`; smooth but for the color of dark pixels; bounded by SHIFT_LIMIT
        but for the lightness where the light is not ordinary.

    Normalized convolution after Knutsson & Westin (1993), so that the mask's border does not darken the estimate.
    """
    factor = min(1.0, WORKING_WIDTH / width)
    size = (max(1, round(drawn.shape[1] * factor)), max(1, round(drawn.shape[0] * factor)))
    sigma = REACH * width * factor
    low_drawn = _low(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), _small(skin_drawn, size), sigma)
    low_base = _low(cv2.resize(base, size, interpolation=cv2.INTER_AREA), _small(skin_base, size), sigma)
    shift = np.clip(low_base - low_drawn, -SHIFT_LIMIT, SHIFT_LIMIT)
    shift = cv2.resize(shift, drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    # black has no color to shift, and gray none to lose: brows would turn blue when brown skin becomes pale, and gray
    level = cv2.resize(low_drawn, drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    lightness = level[..., 0]
    relative = drawn[..., 0] / np.maximum(lightness, 1)
    shift[..., 1:] *= (np.clip(relative / DARK, 0, 1) * _to_lose(drawn, level, shift))[..., None]
    shift[..., 0] *= np.clip(relative, 0, 1)
    if tone.modeled < 1:
        wanted = cv2.resize(low_base[..., 0], drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        own = drawn[..., 0] - lightness
        shift[..., 0] = tone.between(shift[..., 0], wanted + tone.contrast * own - drawn[..., 0])
    result: Lab = shift + _flattened(drawn, low_drawn, low_base)
    return result


def _to_lose(drawn: Lab, level: Lab, shift: Lab) -> Mask:
    """The share of a color shift that each pixel takes: where skin gets paler, as much as it has of the skin's color.

    Args:
        drawn, level: the face, and the low frequencies of its skin.
        shift: that takes the skin to another color; where it makes it no paler, the share is 1.
    """
    along = np.einsum("...c,...c->...", drawn[..., 1:], level[..., 1:])
    whole = np.einsum("...c,...c->...", level[..., 1:], level[..., 1:])
    paler = np.einsum("...c,...c->...", shift[..., 1:], level[..., 1:]) < 0
    share: Mask = np.where(paler, np.clip(along / np.maximum(whole, 1), 0, 1), 1).astype(np.float32)
    return share


def _flattened(drawn: Lab, low_drawn: Lab, low_base: Lab) -> Lab:
    """What takes contrasts of color back where the light gets less: in dim light lips are less red, to all cameras.

    Less light scales lightness and chroma alike, since all of LAB goes with the cube root of it.
    """
    size = drawn.shape[1::-1]
    ratio = np.clip(low_base[..., 0] / np.maximum(low_drawn[..., 0], 1), LEAST_CONTRAST, 1)
    own = drawn[..., 1:] - cv2.resize(low_drawn[..., 1:], size, interpolation=cv2.INTER_LINEAR)
    change = np.zeros_like(drawn)
    change[..., 1:] = own * (cv2.resize(ratio, size, interpolation=cv2.INTER_LINEAR) - 1)[..., None]
    return change


def compress_highlights(lightness: Lightness, before: Lightness) -> Lightness:
    """Lightness with what was brightened beyond KNEE bent towards 100; what was that bright before stays."""
    limit = np.maximum(before, KNEE)
    over = np.maximum(lightness - limit, 0)
    return np.minimum(lightness, limit + over / (1 + over / 6))


def match_grain(mixed: Lab, skin_mixed: Mask, template: Lab, skin_template: Mask, width: float) -> Lightness:
    """Lightness of `mixed` with as much fine detail on its skin as the template shows on its own, band by band.

    A photo smaller than the template is too smooth, a larger one too sharp for it, and mixing two textures smooths
    both. Each band is scaled within GRAIN_GAIN. What is missing then is noise, as film and sensors make it: lending
    the template's own texture would lend its wrinkles and the rims of its glasses.
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
        # lashes, lips and wrinkles are no grain: raised with it they look etched
        lightness += (gain - 1) * (own / (1 + np.square(own / (EDGE * strength_own))) if gain > 1 else own)
        if ratio > gain:
            missing = float(np.sqrt(1 - (gain / ratio) ** 2)) * most
            lightness += missing * strength_wanted / float(added.std()) * added
    return lightness


def _low(lab: Lab, weight: Mask, sigma: float) -> Lab:
    total = float(weight.sum())
    if total < 1e-3:
        return np.broadcast_to(lab.reshape(-1, 3).mean(axis=0), lab.shape).astype(np.float32)
    mean = (lab * weight[..., None]).sum(axis=(0, 1)) / total
    blurred = cv2.GaussianBlur(lab * weight[..., None], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    amount = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)[..., None]
    low: Lab = (blurred + TRUST * mean.astype(np.float32)) / (amount + TRUST)
    return low


def _small(mask: Mask, size: tuple[int, int]) -> Mask:
    small: Mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return small


def _band(lightness: Lightness, finer: float, coarser: float) -> Lightness:
    """What lies between two Gaussians, sigmas in pixels; below 0.3 px there is nothing to take away."""
    upper = cv2.GaussianBlur(lightness, (0, 0), finer) if finer > FINEST else lightness
    band: Lightness = upper - cv2.GaussianBlur(lightness, (0, 0), max(coarser, FINEST + 0.4))
    return band


def _strength(high: Lightness, where: Mask) -> float:
    """Root mean square on the skin, without the strongest tenth: those are edges and wrinkles, not grain."""
    values = np.abs(high[where > 0.5])
    if len(values) < 16:
        return 0.0
    kept = values[values <= np.quantile(values, 0.9)]
    return float(np.sqrt(np.square(kept).mean()))
