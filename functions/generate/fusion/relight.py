"""Relight a drawn face for another picture; eyes, teeth and beards take less of the change."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.strips import RowEnlarger
from shared.imaging.array_types import Mask

SHADE_ON_FEATURES = (0.4, 1.0)  # bounds of the share of the skin's lightness shift that eyes and teeth take
USUAL_SHADE = 0.6  # the share if no whites of the eyes are visible
SHOWING = 0.75  # relative to the skin's lightness; if the lightest of the eyes is darker, it is lids or shade
FAINT_SHIFT = 2.0  # lightness; the share cannot be measured from a smaller shift
# share of the skin's color shift that eyes and teeth take; with more, teeth beside brown skin turn yellow. Of a shift
# that makes the skin paler each pixel takes its share by its own color: the white of teeth none, but the gold that
# a small photo's chroma spreads over them, all of it. Not so with a beard, which would turn as red as the skin
COLOR_ON_FEATURES = 0.2
EYE_SOFTNESS = 0.006  # face widths: with more, narrow eyes have white bars for lower lids where the skin gets darker
PALER = (0.0, -0.12)  # relative change of the skin's chroma, over which that share rises to 1
LIGHT = 8  # channels of `light.LowLight`


@dataclass(frozen=True, eq=False)
class Relighting:
    """How a drawn face is relit for the face in whose picture it is drawn.

    Attributes:
        smooth: what is smooth over the face, (h, w, 9), at any size: `light.LowLight`, and the mask of eyes, mouth and
            hair, which are not skin and take less of the shift.
        damping: the share of the shift that these do not take, in LAB, (3,).
        tone: how ordinary the light of that face is.
    """

    smooth: NDArray[np.float32]
    damping: NDArray[np.float32]
    tone: light.Tone

    @classmethod
    def of(
        cls,
        drawn: light.Lab,
        base: FaceCrop,
        skin_drawn: Mask,
        skin_base: Mask,
        whites: tuple[float, float] | None,
        tone: light.Tone = light.ORDINARY,
        hair: Mask | float = 0.0,
        border: light.Border | None = None,
    ) -> "Relighting":
        """Measure how to relight a drawn face.

        In light that is not ordinary, eyes, teeth and beards take the whole shift of lightness, so that nothing glows
        in a nearly black picture.

        Args:
            drawn: the face, LAB, (h, w, 3).
            base: the face in whose picture it is drawn, of the same size.
            skin_drawn, skin_base: weights, (h, w), of the pixels that show skin.
            whites: `light.measure_whites` of the drawn eyes and of those of the base; None if unknown.
            tone: how ordinary the base's light is.
            hair: mask, (h, w), of the drawn face's moustache and beard.
            border: where the faces end; None matches the light everywhere alike.
        """
        low = light.measure_light(drawn, base.lab, skin_drawn, skin_base, base.width, border)
        low = RowEnlarger(low, base.size).cut(slice(0, base.size[0]))
        own = np.maximum(np.maximum(_eyeballs(base), masks.mouth(base.points, base.size)), hair)
        shift = light.shift_light(drawn, cv2.split(low), tone)[..., 0]
        shade = 1 - tone.modeled * (1 - _measure_shade(drawn[..., 0], shift, base, whites))
        paleness = _measure_paleness(low, skin_drawn) * (1 - float(np.max(hair)))
        color = (1 - COLOR_ON_FEATURES) * (1 - paleness)
        damping = np.array([1 - shade, color, color], np.float32)
        return cls(np.dstack([low, own.astype(np.float32)]), damping, tone)

    def apply(self, drawn: light.Lab, smooth: Sequence[NDArray[np.float32]]) -> light.Lab:
        """Relight some pixels of the drawn face.

        Args:
            drawn: LAB, (H, W, 3).
            smooth: the planes of the attribute of that name, of the same pixels, (H, W) each; they are overwritten.
        """
        lit: light.Lab = cv2.merge([1 - one * smooth[LIGHT] for one in self.damping])
        lit *= light.shift_light(drawn, smooth[:LIGHT], self.tone)
        lit += drawn
        raised = lit[..., 0]
        lit[..., 0] = self.tone.between(light.compress_highlights(raised, drawn[..., 0]), raised)
        return lit

    def gain(self, drawn: light.Lab, smooth: Sequence[NDArray[np.float32]]) -> light.Lab:
        """Return by how much a pixel changes in each channel once relit where it changes by 1, (H, W, 3).

        What is finer than the drawn face, such as pores and single hairs, is relit by this factor. It is the derivative
        of `apply`, each channel by itself, without the darkest pixels' own rule.

        Args:
            drawn, smooth: as in `apply`.
        """
        change, change_a, change_b, level, level_a, level_b, lost, wanted, own = smooth
        before, a, b = cv2.split(drawn)
        lightness = before / np.maximum(level, 1)
        taken = [1 - one * own for one in self.damping]
        modeled, least = np.float32(self.tone.modeled), np.float32(self.tone.contrast - 1)
        highest = light.highest_share(change)
        raised = change / np.maximum(level, 1) * (lightness < highest)
        gain = 1 + taken[0] * (least + modeled * (raised - least))
        scaled = wanted + np.float32(self.tone.contrast) * (before - level) - before
        brightened = before + taken[0] * self.tone.between(change * np.clip(lightness, 0, highest), scaled)
        gains = [self.tone.between(light.compress_gain(gain, brightened, before), gain)]
        # where the shift makes the skin paler, a pixel's share of it grows with the pixel's own color
        whole = np.maximum(level_a * level_a + level_b * level_b, 1)
        paler = np.clip(lightness * np.float32(1 / light.DARK), 0, 1) / whole
        along = (a * level_a + b * level_b) / whole
        paler *= (change_a * level_a + change_b * level_b < 0) & (along > 0) & (along < 1)
        for at, shift, one in ((level_a, change_a, taken[1]), (level_b, change_b, taken[2])):
            gains.append(1 + one * (lost + shift * at * paler))
        gain_of_all: light.Lab = cv2.merge(gains)
        return gain_of_all


def _eyeballs(base: FaceCrop) -> Mask:
    """Return the mask, (h, w), of the openings of the eyes: lids and lashes are lit as the skin is."""
    return masks.eyes(base.points, base.size, growth=0.0, softness=EYE_SOFTNESS)


def _measure_paleness(low: light.LowLight, skin: Mask) -> float:
    """Return how surely the light makes the drawn skin paler, 0 to 1."""
    mean = skin.ravel() @ low.reshape(skin.size, -1) / max(float(skin.sum()), 1.0)
    change, level = mean[1:3], mean[4:6]
    relative = float(change @ level) / max(float(level @ level), 1.0)
    return float(np.clip((relative - PALER[0]) / (PALER[1] - PALER[0]), 0, 1))


def _measure_shade(
    drawn: light.Lightness, shift: light.Lightness, base: FaceCrop, whites: tuple[float, float] | None
) -> float:
    """Return the share of the skin's lightness shift that brings the whites of the eyes to those of the base.

    That share is due to the light; the rest is due to another skin color. The skin's shift alone cannot tell dim light
    from dark skin: in dim light, eyes and teeth that take none of it glow; beside dark skin, those that take all of it
    turn gray.
    """
    eyes, skin = masks.eyes(base.points, base.size, 0.0, 0.0) > 0.5, masks.bare(base.points, base.size) > 0.5
    if whites is None or not eyes.any() or not skin.any():
        return USUAL_SHADE
    (own, wanted), seen = whites, base.lab[..., 0]
    wished = float(np.median(shift[eyes & (drawn >= light.measure_whites(drawn, eyes))]))
    shown = own > SHOWING * np.median(drawn[skin]) and wanted > SHOWING * np.median(seen[skin])
    if not shown or abs(wished) < FAINT_SHIFT:
        return USUAL_SHADE
    return float(np.clip((wanted - own) / wished, *SHADE_ON_FEATURES))
