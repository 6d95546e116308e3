"""Relight a drawn face for another picture; eyes, teeth and beards take less of the change."""

import numpy as np

from functions.generate.face import light, masks
from functions.generate.face.crop import rescale
from functions.generate.face.strips import list_strips, repeat
from shared.imaging.array_types import Mask, Points

SHADE_ON_FEATURES = (0.4, 1.0)  # bounds of the share of the skin's lightness shift that eyes and teeth take
USUAL_SHADE = 0.6  # the share if no whites of the eyes are visible
WHITES = 0.9  # quantile of the lightness in the eyes; lighter is the white of the eye, which is alike in all people
SHOWING = 0.75  # relative to the skin's lightness; if the lightest of the eyes is darker, it is lids or shade
FAINT_SHIFT = 2.0  # lightness; the share cannot be measured from a smaller shift
# share of the skin's color shift that eyes and teeth take; with more, teeth beside brown skin turn yellow
COLOR_ON_FEATURES = 0.2


def relight(
    drawn: light.Lab,
    shift: light.Lab,
    points: Points,
    base: light.Lab,
    tone: light.Tone = light.ORDINARY,
    hair: Mask | float = 0.0,
) -> light.Lab:
    """Add the shift of light and color to a drawn face; eyes, teeth and beards take less of it: they are not skin.

    In light that is not ordinary they take the whole shift of lightness, so that nothing glows in a nearly black
    picture.

    Args:
        drawn: the face, LAB, (H, W, 3).
        shift: the change of the skin's light and color, from `light.equalize`.
        points: the face's landmarks, (68, 2).
        base: the face in whose picture it is drawn, LAB, (H, W, 3).
        tone: how ordinary the base's light is.
        hair: mask, (H, W), of the drawn face's moustache and beard.
    """
    size = drawn.shape[:2]
    own = np.maximum(np.maximum(masks.eyes(points, size), masks.mouth(points, size)), hair)
    shade = 1 - tone.modeled * (1 - _measure_shade(drawn[..., 0], shift[..., 0], base[..., 0], points))
    damping = np.array([1 - shade, 1 - COLOR_ON_FEATURES, 1 - COLOR_ON_FEATURES], np.float32)
    face = np.empty_like(drawn)
    for rows in list_strips(size):
        part = repeat(own[rows])
        part *= -damping
        part += 1
        part *= shift[rows]
        part += drawn[rows]
        raised = part[..., 0]
        part[..., 0] = tone.between(light.compress_highlights(raised, drawn[rows][..., 0]), raised)
        face[rows] = part
    return face


def _measure_shade(drawn: light.Lightness, shift: light.Lightness, base: light.Lightness, points: Points) -> float:
    """Return the share of the skin's lightness shift that brings the whites of the eyes to those of the base.

    That share is due to the light; the rest is due to another skin color. The skin's shift alone cannot tell dim light
    from dark skin: in dim light, eyes and teeth that take none of it glow; beside dark skin, those that take all of it
    turn gray.
    """
    eyes = masks.eyes(points, drawn.shape, 0.0, 0.0) > 0.5
    every = max(1, max(drawn.shape) // light.SAMPLING_SIDE)
    sampled = slice(None, None, every), slice(None, None, every)
    coarse = drawn[sampled].shape
    skin = masks.bare(rescale(points, drawn.shape, coarse), coarse) > 0.5
    if not eyes.any() or not skin.any():
        return USUAL_SHADE
    own, wanted = (float(np.quantile(plane[eyes], WHITES)) for plane in (drawn, base))
    wished = float(np.median(shift[eyes & (drawn >= own)]))
    shown = own > SHOWING * np.median(drawn[sampled][skin]) and wanted > SHOWING * np.median(base[sampled][skin])
    if not shown or abs(wished) < FAINT_SHIFT:
        return USUAL_SHADE
    return float(np.clip((wanted - own) / wished, *SHADE_ON_FEATURES))
