"""A template's palette: what colors and tones its face has, and what somebody else's colors become in it.

    a face's tint --mean at each lightness--> curve      gray: nothing, sepia: one brown, duotone: from one to another
    what single colors leave the curve by --> strength   lips and cheeks; near nothing where the picture has one tint
    a person's colors in it = the template's curve + the person's own departures, scaled to the template's strength

Ordinary color pictures have as much of it as people have: `natural` is 1 there, and nothing is changed. The lightness
of pictures that are nearly black, nearly white or very flat is treated alike: differences are scaled to the template's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light
from functions.generate.face.gaussian import blur
from shared.imaging.array_types import Image, Mask

Curve = NDArray[np.float32]
"""(LEVELS, 2): a and b at each lightness from 0 to 100."""

LEVELS = 201
SMOOTHNESS = 1.5  # lightness; sigma over which the curve is averaged
FACE_SIDE = 256  # pixels across the face where colors are looked at
SPECKLE, FINEST = 0.015, 0.8  # face widths and pixels; sigma that averages the noise of jpg's chroma away
# of 81 ordinary color faces: departures 1.9 to 9.1 (95 in 100 above 3.0), chroma above 12.8 in 99 of 100, contrast
# above 13.9 and lightness above 24 in all. The same faces at 30 % of their chroma have about 1.2 and 6
USUAL_STRENGTH = 4.3
FAINT, COLORED = 1.5, 2.6  # departures: a faded picture's, a colored one's
VIVID = (2.6, 3.4)  # departures that no faded picture has, however pale the skin
PALE, FLESH = 10.0, 16.0  # chroma of faded and of ordinary skin
FLAT, MODELED = 8.0, 14.0  # contrast: lightness between the darkest and the lightest twentieth of a face
BLACK, DIM = 12.0, 24.0  # lightness of a face in nearly no light, and in light enough
BRIGHT, WHITE = 88.0, 95.0
DIMMEST, PLAIN = 40.0, 60.0  # lightness between which less light explains less chroma
ONE_TINT = 0.5  # departures up to which a picture has but one tint at each lightness; a jpg in sepia has 0.4
SPREAD = 2.0  # times the strength, that a pixel of a picture of one tint may be away from it
NEUTRAL, NOISY = 0.8, 2.0  # chroma up to which the tint is gray, and departures that noise makes of it in small faces
STRIP_PIXELS = 1_000_000  # that are looked at together, so that a large picture is never held in floats as a whole
LEAST = 16  # pixels that tell anything


@dataclass(frozen=True, eq=False)
class Palette:
    """The colors and tones of one face.

    Attributes:
        curve: the mean tint at each lightness; 0 throughout for a neutral picture.
        strength: root mean square of what colors leave the curve by, in a and b.
        chroma, lightness, contrast: of the face: medians, and from its darkest to its lightest twentieth.
    """

    curve: Curve
    strength: float
    chroma: float
    lightness: float
    contrast: float

    @classmethod
    def of(cls, lab: light.Lab, where: Mask, width: float) -> "Palette":
        """Of the pixels of `lab`, (H, W, 3), under `where`, (H, W), in a face `width` pixels wide.

        Too few pixels tell nothing: that is an ordinary color picture.
        """
        factor = min(1.0, FACE_SIDE / width)
        if factor < 1:
            size = tuple(max(1, round(side * factor)) for side in lab.shape[1::-1])
            lab, where = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (lab, where))
        inside = where > 0.5
        if inside.sum() < LEAST:
            return cls(np.zeros((LEVELS, 2), np.float32), USUAL_STRENGTH, FLESH, PLAIN, 2 * MODELED)
        curve = _curve(lab[inside])
        away = (lab[..., 1:] - _at(curve, lab[..., 0])) * inside[..., None]
        sigma = max(SPECKLE * width * factor, FINEST)
        share = np.maximum(blur(inside.astype(np.float32), sigma), 0.05)
        smooth = (blur(away, sigma) / share[..., None])[inside]
        strength = float(np.sqrt(np.square(smooth, dtype=np.float64).sum(axis=1).mean()))
        lightness, tints = lab[inside][:, 0], np.linalg.norm(_at(curve, lab[inside][:, 0]), axis=-1)
        low, middle, high = np.quantile(lightness, (0.05, 0.5, 0.95))
        if strength <= NOISY and np.sqrt(np.square(tints).mean()) <= NEUTRAL:
            curve, strength = np.zeros_like(curve), 0.0
        return cls(curve, strength, float(np.median(tints)), float(middle), float(high - low))

    @property
    def one_tint(self) -> bool:
        """Whether there is but one tint at each lightness: gray, sepia, a duotone."""
        return self.strength <= ONE_TINT

    @property
    def neutral(self) -> bool:
        """Whether there is none at all."""
        return self.one_tint and not self.curve.any()

    @property
    def natural(self) -> float:
        """1 for an ordinary color picture, 0 for one that is gray, of one tint or faded."""
        fewer = PLAIN / float(np.clip(self.lightness, DIMMEST, PLAIN))
        strength, chroma = self.strength * fewer, self.chroma * fewer
        colored = _rising(strength, FAINT, COLORED) * _rising(chroma, PALE, FLESH)
        return max(colored, _rising(strength, *VIVID))

    @property
    def modeled(self) -> float:
        """1 for a face in ordinary light, 0 for one that is nearly black, nearly white, or flat as through fog."""
        lit = _rising(self.lightness, BLACK, DIM) * (1 - _rising(self.lightness, BRIGHT, WHITE))
        return lit * _rising(self.contrast, FLAT, MODELED)

    def tone(self, own: "Palette") -> light.Tone:
        """How the contrasts of somebody with the palette `own` come into this picture's light."""
        return light.Tone(self.modeled, min(1.0, self.contrast / max(own.contrast, MODELED)))

    def tinted(self, balanced: light.Lab, drawn: light.Lab, own: "Palette") -> light.Lab:
        """A person's drawn face in these colors.

        Args:
            balanced: LAB, (H, W, 3): the face in the template's light, its skin's color that of the template.
            drawn: the same as the person's photo shows it.
            own: the palette of `drawn`.

        Returns:
            LAB, (H, W, 3), `balanced` itself where this palette is an ordinary one.
        """
        natural = self.natural
        if natural >= 1:
            return balanced
        tint = _at(self.curve, balanced[..., 0])
        if not self.one_tint:
            tint += min(1.0, self.strength / max(own.strength, ONE_TINT)) * (
                drawn[..., 1:] - _at(own.curve, drawn[..., 0])
            )
        result = balanced.copy()
        result[..., 1:] = natural * balanced[..., 1:] + (1 - natural) * tint
        return result

    def adapted(self, after: Image, before: Image) -> Image:
        """What a network made of a picture, its changes scaled to what this palette has.

        Args:
            after, before: RGB, uint8, (H, W, 3).

        Returns:
            RGB, uint8, (H, W, 3), equal to `after` for an ordinary picture, and to `before` wherever the two are alike.
        """
        natural, modeled = self.natural, self.modeled
        if natural >= 1 and modeled >= 1:
            return after
        color = natural + (1 - natural) * min(1.0, self.strength / USUAL_STRENGTH)
        tone = modeled + (1 - modeled) * min(1.0, self.contrast / MODELED)

        def scaled(new: light.Lab, old: light.Lab) -> Image:
            lightness = old[..., 0] + tone * (new[..., 0] - old[..., 0])
            away_new, away_old = (lab[..., 1:] - _at(self.curve, lab[..., 0]) for lab in (new, old))
            tint = _at(self.curve, lightness) + away_old + color * (away_new - away_old)
            return light.to_rgb(np.dstack([lightness, tint]))

        return _changed(after, before, scaled)

    def settled(self, image: Image, template: Image) -> Image:
        """The picture with the one tint of this palette wherever it is not the template's; itself if there are more.

        Channels are equal afterwards where that tint is gray; else a pixel may leave the tint as the template's does.

        Args:
            image, template: RGB, uint8, (H, W, 3).
        """
        if not self.one_tint:
            return image

        def plain(new: light.Lab, old: light.Lab) -> Image:
            if self.neutral:
                new[..., 1:] = 0
                # equal by construction: the conversion leaves gray's channels a rounding apart
                return np.repeat(light.to_rgb(new)[..., 1:2], 3, axis=-1)
            tint = _at(self.curve, new[..., 0])
            away_new, away_old = new[..., 1:] - tint, old[..., 1:] - _at(self.curve, old[..., 0])
            allowed = np.linalg.norm(away_old, axis=-1) + SPREAD * self.strength
            far = np.maximum(np.linalg.norm(away_new, axis=-1) / np.maximum(allowed, 1e-6), 1)
            new[..., 1:] = tint + away_new / far[..., None]
            return light.to_rgb(new)

        return _changed(image, template, plain)


def is_gray(image: Image) -> bool:
    """Whether every pixel has equal channels."""
    return bool(np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]))


def _changed(after: Image, before: Image, change: Callable[[light.Lab, light.Lab], Image]) -> Image:
    """The picture with what `change` makes of the pixels that differ, (1, N, 3) in LAB after and before."""
    result = after
    rows = max(1, STRIP_PIXELS // after.shape[1])
    for top in range(0, len(after), rows):
        strip = slice(top, top + rows)
        differs = np.any(after[strip] != before[strip], axis=-1)
        if differs.any():
            result = after.copy() if result is after else result
            new, old = (light.to_lab(image[strip][differs][None]) for image in (after, before))
            result[strip][differs] = change(new, old)[0]
    return result


def _curve(colors: NDArray[np.float32]) -> Curve:
    """The mean tint of colors, (N, 3), at each lightness; below the darkest it runs out to none at black.

    Above the lightest that one goes on: the white of teeth is the tint of the paper.
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


def _at(curve: Curve, lightness: light.Lightness) -> NDArray[np.float32]:
    """The tint at each lightness, (..., 2)."""
    place = np.clip(lightness * ((LEVELS - 1) / 100), 0, LEVELS - 1)
    below = np.minimum(place.astype(np.intp), LEVELS - 2)
    share = (place - below)[..., None].astype(np.float32)
    tint: NDArray[np.float32] = curve[below] * (1 - share) + curve[below + 1] * share
    return tint


def _rising(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, smooth in between."""
    share = float(np.clip((value - low) / (high - low), 0, 1))
    return share * share * (3 - 2 * share)
