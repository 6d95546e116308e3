"""A template's palette: the colors and tones of its face, and how another person's colors are mapped to them.

    tint: a and b of LAB
    curve: the face's mean tint at each lightness       gray: no tint, sepia: one brown, duotone: from one to another
    departure: a pixel's tint minus the curve           lips and cheeks; almost none in a picture of one tint
    strength: root mean square of the departures
    mapped color = the template's curve + the person's departures, scaled to the template's strength

An ordinary color picture has as much color as people have: there `natural` is 1 and nothing is changed. Lightness in
pictures that are nearly black, nearly white or very flat is handled likewise: differences are scaled to the template's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.gaussian import blur
from functions.generate.face.strips import copy_where, list_strips
from shared.imaging.array_types import Image, Mask

Curve = NDArray[np.float32]
"""(LEVELS, 2): a and b at each lightness from 0 to 100."""

LEVELS = 201
SMOOTHNESS = 1.5  # sigma in lightness by which the curve is smoothed
FACE_SIDE = 256  # pixels across the face at which colors are measured
SPECKLE, FINEST = 0.015, 0.8  # sigma in face widths, and the least in pixels, that averages out the noise of jpg chroma
# in 81 ordinary color faces: strength 1.9 to 9.1 (above 3.0 in 95 of 100), chroma above 12.8 in 99 of 100, contrast
# above 13.9 and lightness above 24 in all. With their chroma reduced to 30 %, strength is about 1.2 and chroma 6
USUAL_STRENGTH = 4.3
FAINT, COLORED = 1.5, 2.6  # strength of a faded and of a colored picture
VIVID = (2.6, 3.4)  # strength that no faded picture has, however pale the skin
PALE, FLESH = 10.0, 16.0  # chroma of faded and of ordinary skin
FLAT, MODELED = 8.0, 14.0  # contrast: lightness between the 5 % and 95 % quantiles of a face
BLACK, DIM = 12.0, 24.0  # lightness of a face in almost no light, and in enough light
BRIGHT, WHITE = 88.0, 95.0  # lightness of a bright face, and of one that is almost white
DIMMEST, PLAIN = 40.0, 60.0  # between these, a face of less lightness has less chroma because of the light
ONE_TINT = 0.5  # strength up to which a picture has only one tint at each lightness; a sepia jpg has 0.4
SPREAD = 2.0  # strengths that a pixel may depart from the curve in a picture of one tint
NEUTRAL, NOISY = 0.8, 2.0  # chroma up to which the tint is gray, and the strength that noise gives it in small faces
FINE = 20 * (LEVELS - 1) // 2 + 1  # levels at which a curve is looked up, between which it hardly changes
EQUAL = (0, 0, 0), (0, 0, 0)  # bounds of the difference of two pixels that are equal
LEAST = 16  # pixels from which a palette can be measured


@dataclass(frozen=True, eq=False)
class Palette:
    """The colors and tones of one face.

    Attributes:
        curve: the mean tint at each lightness, (LEVELS, 2); all 0 for a gray picture.
        strength: root mean square of the departures from the curve, in a and b.
        chroma, lightness: medians of the curve's chroma and of the lightness over the face.
        contrast: difference of lightness between the face's 5 % and 95 % quantiles.
    """

    curve: Curve
    strength: float
    chroma: float
    lightness: float
    contrast: float

    @classmethod
    def of(cls, lab: light.Lab, where: Mask, width: float) -> "Palette":
        """Measure the palette of the pixels of `lab`, (H, W, 3), under the mask `where`, (H, W).

        With too few pixels it is that of an ordinary color picture. `width` is the face's width in pixels.
        """
        factor = min(1.0, FACE_SIDE / width)
        if factor < 1:
            size = tuple(max(1, round(side * factor)) for side in lab.shape[1::-1])
            lab, where = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (lab, where))
        inside = where > 0.5
        if inside.sum() < LEAST:
            return cls(np.zeros((LEVELS, 2), np.float32), USUAL_STRENGTH, FLESH, PLAIN, 2 * MODELED)
        colors = lab[inside]
        lightness, curve = colors[:, 0], _measure_curve(colors)
        tint, away = _tint_at(curve, lightness), np.zeros((*inside.shape, 2), np.float32)
        away[inside] = colors[:, 1:] - tint
        sigma = max(SPECKLE * width * factor, FINEST)
        share = np.maximum(blur(inside.astype(np.float32), sigma), 0.05)
        smooth = (blur(away, sigma) / share[..., None])[inside]
        strength = float(np.sqrt(np.square(smooth, dtype=np.float64).sum(axis=1).mean()))
        tints = np.linalg.norm(tint, axis=-1)
        low, middle, high = np.quantile(lightness, (0.05, 0.5, 0.95))
        if strength <= NOISY and np.sqrt(np.square(tints).mean()) <= NEUTRAL:
            curve, strength = np.zeros_like(curve), 0.0
        return cls(curve, strength, float(np.median(tints)), float(middle), float(high - low))

    @property
    def one_tint(self) -> bool:
        """Whether there is only one tint at each lightness: gray, sepia or duotone."""
        return self.strength <= ONE_TINT

    @property
    def neutral(self) -> bool:
        """Whether the picture is gray: it has no tint at any lightness."""
        return self.one_tint and not self.curve.any()

    @property
    def natural(self) -> float:
        """How ordinary the colors are: 1 for an ordinary color picture, 0 for a gray, one-tint or faded one."""
        fewer = PLAIN / float(np.clip(self.lightness, DIMMEST, PLAIN))
        strength, chroma = self.strength * fewer, self.chroma * fewer
        colored = _smoothstep(strength, FAINT, COLORED) * _smoothstep(chroma, PALE, FLESH)
        return max(colored, _smoothstep(strength, *VIVID))

    @property
    def modeled(self) -> float:
        """How ordinary the light is: 1 if it is, 0 for a face that is nearly black, nearly white, or flat as in fog."""
        lit = _smoothstep(self.lightness, BLACK, DIM) * (1 - _smoothstep(self.lightness, BRIGHT, WHITE))
        return lit * _smoothstep(self.contrast, FLAT, MODELED)

    def tone(self, own: "Palette") -> light.Tone:
        """Return how the contrasts of a person with the palette `own` change in this picture's light."""
        return light.Tone(self.modeled, min(1.0, self.contrast / max(own.contrast, MODELED)))

    def tint(self, balanced: light.Lab, drawn: light.Lab, own: "Palette") -> light.Lab:
        """Map a person's drawn face to the colors of this palette.

        Args:
            balanced: the face in the template's light and with the template's skin color, LAB, (H, W, 3).
            drawn: the same face with the light and colors of the person's photo, LAB, (H, W, 3).
            own: the palette of `drawn`.

        Returns:
            LAB, (H, W, 3); `balanced` itself if this palette is ordinary.
        """
        natural = self.natural
        if natural >= 1:
            return balanced
        tint = _tint_at(self.curve, balanced[..., 0])
        if not self.one_tint:
            tint += min(1.0, self.strength / max(own.strength, ONE_TINT)) * (
                drawn[..., 1:] - _tint_at(own.curve, drawn[..., 0])
            )
        result = balanced.copy()
        result[..., 1:] = natural * balanced[..., 1:] + (1 - natural) * tint
        return result

    def scale_gain(self, gain: light.Lab, own: "Palette") -> light.Lab:
        """Return what `tint` makes of the factor on a face's detail, LAB, (H, W, 3); that of lightness stays."""
        natural = self.natural
        if natural >= 1:
            return gain
        departures = 0.0 if self.one_tint else min(1.0, self.strength / max(own.strength, ONE_TINT))
        result = gain.copy()
        result[..., 1:] = natural * gain[..., 1:] + (1 - natural) * departures
        return result

    def scale_changes(self, after: Image, before: Image) -> Image:
        """Scale the changes that a network made in a picture to the color and contrast of this palette.

        Args:
            after, before: the picture after and before the network, RGB, uint8, (H, W, 3).

        Returns:
            RGB, uint8, (H, W, 3); `after` itself for an ordinary palette. Pixels that are equal in both stay so.
        """
        natural, modeled = self.natural, self.modeled
        if natural >= 1 and modeled >= 1:
            return after
        color = natural + (1 - natural) * min(1.0, self.strength / USUAL_STRENGTH)
        tone = modeled + (1 - modeled) * min(1.0, self.contrast / MODELED)

        def scale(changed: Image, unchanged: Image) -> Image:
            new, old = light.to_lab(changed), light.to_lab(unchanged)
            lightness = old[..., 0] + tone * (new[..., 0] - old[..., 0])
            away_new, away_old = (lab[..., 1:] - _tint_at(self.curve, lab[..., 0]) for lab in (new, old))
            tint = _tint_at(self.curve, lightness) + away_old + color * (away_new - away_old)
            return light.to_rgb(np.dstack([lightness, tint]))

        return _change_pixels(after, before, scale)

    def limit_tint(self, image: Image, template: Image) -> Image:
        """Limit the pixels that differ from the template to the tint of a one-tint palette.

        For a gray palette their channels are made equal. Else they may depart from the curve as far as the template's
        own pixel does, and SPREAD times the strength further. Returns `image` itself if the palette has more tints.

        Args:
            image, template: RGB, uint8, (H, W, 3).
        """
        if not self.one_tint:
            return image

        def plain(changed: Image, unchanged: Image) -> Image:
            if self.neutral:
                return light.to_gray(changed)
            new, old = light.to_lab(changed), light.to_lab(unchanged)
            tint = _tint_at(self.curve, new[..., 0])
            away_new, away_old = new[..., 1:] - tint, old[..., 1:] - _tint_at(self.curve, old[..., 0])
            allowed = cv2.magnitude(*cv2.split(away_old)) + np.float32(SPREAD * self.strength)
            far = np.maximum(cv2.magnitude(*cv2.split(away_new)) / np.maximum(allowed, 1e-6), 1)
            new[..., 1:] = tint + away_new / far[..., None]
            return light.to_rgb(new)

        return _change_pixels(image, template, plain)


def is_gray(image: Image) -> bool:
    """Return whether the channels of every pixel are equal."""
    return bool(np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]))


def _change_pixels(after: Image, before: Image, change: Callable[[Image, Image], Image]) -> Image:
    """Return `after` with `change` applied to the pixels that differ; it is given parts of both, (h, w, 3) each."""
    result = after
    for rows in list_strips(after.shape):
        differs = cv2.bitwise_not(cv2.inRange(cv2.absdiff(after[rows], before[rows]), *EQUAL))
        _, columns = masks.bounds(differs, 0.0)
        if columns.stop > columns.start:
            result = after.copy() if result is after else result
            made = change(after[rows, columns], before[rows, columns])
            copy_where(made, differs[:, columns] > 0, result[rows, columns])
    return result


def _measure_curve(colors: NDArray[np.float32]) -> Curve:
    """Return the mean tint of LAB colors, (N, 3), at each lightness.

    Below the darkest color the curve falls to no tint at black. Above the lightest color it stays as it is there: the
    white of teeth has the tint of the paper.
    """
    level = np.clip(np.rint(colors[:, 0] * (LEVELS - 1) / 100), 0, LEVELS - 1).astype(np.intp)
    sums = np.stack(
        [np.bincount(level, weights, LEVELS) for weights in (np.ones(len(colors)), colors[:, 1], colors[:, 2])]
    )
    sigma = SMOOTHNESS * (LEVELS - 1) / 100
    amount, *tints = cv2.GaussianBlur(sums, (0, 0), sigma, sigmaY=1e-3, borderType=cv2.BORDER_CONSTANT)
    levels = np.arange(LEVELS)
    seen = levels[amount > 0.5]
    at = np.concatenate([[-1], seen])
    means = [np.concatenate([[0.0], tint[seen] / amount[seen]]) for tint in tints]
    return np.stack([np.interp(levels, at, mean) for mean in means], axis=1).astype(np.float32)


def _tint_at(curve: Curve, lightness: light.Lightness) -> NDArray[np.float32]:
    """Return the curve's tint at each lightness, (..., 2)."""
    at = np.linspace(0, LEVELS - 1, FINE)
    fine = np.stack([np.interp(at, np.arange(LEVELS), one) for one in curve.T], axis=1).astype(np.float32)
    place = np.clip(lightness * np.float32((FINE - 1) / 100) + np.float32(0.5), 0, FINE - 1).astype(np.int32)
    tint: NDArray[np.float32] = np.take(fine, place, axis=0)
    return tint


def _smoothstep(value: float, low: float, high: float) -> float:
    """Return 0 up to `low`, 1 from `high` on, and a smooth step in between."""
    share = float(np.clip((value - low) / (high - low), 0, 1))
    return share * share * (3 - 2 * share)
