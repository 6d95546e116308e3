"""A drawn face in another picture's light, whose eyes and teeth are no skin."""

import numpy as np

from functions.generate.face import light, masks
from shared.imaging.array_types import Points

SHADE_ON_FEATURES = (0.4, 1.0)  # share of skin's light shift that eyes and teeth get; their whites are no skin
USUAL_SHADE = 0.6  # and where no whites show it
WHITES = 0.9  # quantile of the lightness in the eyes from where they are white, alike in all people
SHOWING = 0.75  # of the skin's lightness, below which the lightest of the eyes are lids or shade
FAINT_SHIFT = 2.0  # lightness; of a smaller shift no share can be told
COLOR_ON_FEATURES = 0.35  # share of skin's color shift that they get


def relight(
    drawn: light.Lab, shift: light.Lab, points: Points, base: light.Lab, tone: light.Tone = light.ORDINARY
) -> light.Lab:
    """The drawn face in the base's light; eyes and teeth take less of it, since theirs is not the skin's color.

    Of light that is not ordinary, as `tone` says, they take all: nothing glows in a picture that is nearly black.
    """
    size = drawn.shape[:2]
    own = np.maximum(masks.eyes(points, size), masks.mouth(points, size))[..., None]
    shade = _shade(drawn[..., 0], shift[..., 0], base[..., 0], points)
    damping = np.array([shade, COLOR_ON_FEATURES, COLOR_ON_FEATURES], np.float32)
    damping[0] = 1 - tone.modeled * (1 - damping[0])
    face: light.Lab = drawn + shift * (1 - own * (1 - damping))
    face[..., 0] = tone.between(light.compress_highlights(face[..., 0], drawn[..., 0]), face[..., 0])
    return face


def _shade(drawn: light.Lightness, shift: light.Lightness, base: light.Lightness, points: Points) -> float:
    """The share of the skin's shift that brings the eyes' whites to the base's: the rest is another skin's color.

    The skin's shift alone cannot tell dim light from dark skin: in the one eyes and teeth would glow, in the other they
    would turn gray.
    """
    eyes = masks.eyes(points, drawn.shape, 0.0, 0.0) > 0.5
    skin = masks.bare(points, drawn.shape) > 0.5
    if not eyes.any() or not skin.any():
        return USUAL_SHADE
    own, wanted = (float(np.quantile(plane[eyes], WHITES)) for plane in (drawn, base))
    wished = float(np.median(shift[eyes & (drawn >= own)]))
    shown = own > SHOWING * np.median(drawn[skin]) and wanted > SHOWING * np.median(base[skin])
    if not shown or abs(wished) < FAINT_SHIFT:
        return USUAL_SHADE
    return float(np.clip((wanted - own) / wished, *SHADE_ON_FEATURES))
