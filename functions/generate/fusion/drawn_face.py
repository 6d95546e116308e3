"""A drawn face and how it is mixed into the template's: by shares, and as sharp and grainy as the template's face."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.strips import blend, copy_where
from functions.generate.face.working_size import Part
from functions.generate.fusion import detail_match
from functions.generate.fusion.blend_weights import LOWERED, BlendWeights
from shared.imaging.array_types import Image, Mask

TEETH = 0.01  # face widths around the mouth's opening in which detail is not raised


@dataclass(frozen=True, eq=False)
class DrawnFace:
    """A face that is to be mixed into a crop, relit.

    Attributes:
        small: LAB, at the crop's working size, (h, w, 3).
        draw: returns a part of the crop at its full size, LAB.
        taken: mask, (h, w), of where the drawn face may be used.
        hair: mask, (h, w), of the facial hair of both faces, which is changed also outside the face; None leaves it as
            it is there.
        worn: mask, (h, w), of the frames of the drawn face's glasses, which are mixed in also outside the face.
        draw_worn: returns the same for a part of the crop at its full size.
        detailed: whether it has detail that can be raised to the template's.
        rough: whether its grain and its sharpness do not matter.
    """

    small: light.Lab
    draw: Callable[[Part], light.Lab]
    taken: Mask
    hair: Mask | None = None
    worn: Mask | None = None
    draw_worn: Callable[[Part], Mask] | None = None
    detailed: bool = True
    rough: bool = False


def compose(crop: FaceCrop, drawn: DrawnFace, original: FaceCrop, shares: BlendWeights, fixed: Mask) -> Image:
    """Mix a drawn face into a crop and match the sharpness of the template's face.

    Args:
        crop: the face as it is.
        drawn: the face to mix in.
        original: the template's face, whose sharpness the result must have.
        shares: the drawn face's share in each part.
        fixed: mask, (H, W), of what stays as it is in the crop.

    Returns:
        RGB, uint8, (H, W, 3); equal to the crop where the share is 0.
    """
    small, kept = crop.small, original.small
    outline = small.outline(-shares.reaching, LOWERED)
    hair = np.zeros(small.size, np.float32) if drawn.hair is None else drawn.hair
    features = masks.features(small.points, small.size)
    weight = shares.skin + (shares.features - shares.skin) * features
    soft = np.maximum(outline, hair) * drawn.taken
    share = np.maximum(soft * weight, hair * drawn.taken * shares.hair)
    changed = share if drawn.worn is None else np.maximum(share, drawn.worn)
    if not changed.any():
        return np.array(crop.image)
    # nothing changes outside of it
    part = crop.working.cover(masks.bounds(changed, light.BANDS[-1] * light.SEEN * small.width))

    def enlarge(plane: Mask) -> Mask:
        return crop.enlarge(plane.astype(np.float32, copy=False), part)

    bare = enlarge(small.bare * light.skin_likeness(drawn.small, small.bare) * small.skin_likeness * (1 - hair))
    # raised gaps between teeth look engraved: a mouth has as much detail as the photo shows
    detailed = features * (1 - masks.mouth(small.points, small.size, TEETH))
    soft, share, sharp = enlarge(soft), enlarge(share), enlarge(np.maximum(detailed, hair))
    if drawn.worn is not None and drawn.draw_worn is not None:
        worn = drawn.draw_worn(part)
        soft, share = np.maximum(soft, worn), np.maximum(share, worn * enlarge(weight))
    if fixed[part].any():
        soft, share = (plane * (1 - fixed[part]) for plane in (soft, share))
    face = drawn.draw(part)
    missing = detail_match.missing_blur(
        detail_match.measure_blur(np.ascontiguousarray(drawn.small[..., 0]), outline, small.width),
        detail_match.measure_blur(np.ascontiguousarray(kept.lab[..., 0]), kept.face, kept.width),
    )
    face[..., 0] = detail_match.soften(np.ascontiguousarray(face[..., 0]), crop.width * missing)
    mixed = blend(light.to_lab(crop.image[part]), face, share)
    if not drawn.rough:
        where = enlarge(outline * (1 - hair)) > 0.5 if drawn.detailed else None
        mixed[..., 0] = _match_detail(
            crop, part, np.ascontiguousarray(mixed[..., 0]), bare, soft, sharp, where, original
        )
    fused = np.array(crop.image)
    copy_where(light.to_rgb(mixed), share > 0, fused[part])
    return fused


def _match_detail(
    crop: FaceCrop,
    part: Part,
    smooth: light.Lightness,
    bare: Mask,
    soft: Mask,
    sharp: Mask,
    where: NDArray[np.bool_] | None,
    original: FaceCrop,
) -> light.Lightness:
    """Return the lightness of a part of the crop with the grain and the sharpness of the template's face.

    Args:
        crop: the face.
        part: rows and columns of the crop.
        smooth: the lightness of the part, mixed, (h, w).
        bare: mask, (h, w), of skin, whose grain is measured.
        soft: mask, (h, w), in which it is changed.
        sharp: mask, (h, w), of the features, which are sharpened most.
        where: the pixels of the face, (h, w), in which sharpness is measured; None leaves it as it is.
        original: the template's face.
    """
    grained = light.raise_grain(
        smooth,
        bare,
        original.measure_grain(crop.width),
        crop.width,
        lambda: np.ascontiguousarray(light.draw_noise(crop.size)[part]),
    )
    grained -= smooth
    grained *= soft
    grained += smooth
    if where is None:
        return grained
    sharp *= 1 - detail_match.RAISED_SKIN
    sharp += detail_match.RAISED_SKIN
    sharp *= soft
    return detail_match.match_sharpness(grained, smooth, where, sharp, original.sharpness, crop.width)
