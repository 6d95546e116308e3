"""Facial hair follows the person: the template's is taken off, the person's is brought along, also beyond the face.

| template | person | where the hair is |
|---|---|---|
| beard | none | the person's chin and neck; skin in the color of a neck where their photo shows a collar or long hair |
| none | beard | the person's beard with its own soft border, over collar and background |
| beard | beard | the person's; skin where only the template has hair |

Beside the neck, what surrounds the template's beard is continued.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.facial_hair import NECK, FacialHair
from functions.generate.face.gaussian import blur
from functions.generate.face.landmarks import LIPS
from functions.generate.face.light import Lab
from functions.generate.face.strips import RowEnlarger, list_strips, repeat
from functions.generate.face.working_size import WorkingSize
from shared.imaging.array_types import Image, Mask

FILL = 0.06  # face widths, sigma of the skin's color where it is filled in
LEAST = 1e-3  # weight of the skin nearby, below which the mean of all skin is filled in
OWN = 2.0  # weight of the template's neck beside that of the person's: its light is right
GUESS = 0.05  # weight of the face's skin, shaded as a neck, beside that of the neck itself where the photo shows it
# lightness of the neck relative to the cheeks', right under the chin and from DEEP face widths below it: medians of 81
# frontal faces; its colors are the cheeks'
UNDER, LOWER, DEEP = 0.72, 0.88, 0.2
ROUND = 0.04  # face widths over which the jaw turns away from the light; an edge there looks like a drawn line
DEEPEST, SHADED, LIT = (
    0.45,
    0.6,
    1.08,
)  # lightness relative to the face's skin: hair up to the first, neck from the second to the last
TINT = (0.3, 0.6)  # difference of color relative to the skin's chroma: up to the first it is skin, from the second not
SURELY_NECK = 0.42  # half the width of what is surely neck, in face widths; facial_hair.NECK is the most
STRAY = 0.025  # face widths that single hairs stick out of a beard
UNDER_MOUTH = 0.1  # face widths below the mouth, over which stubble at the outline and beyond it begins to count
TEXTURE = 0.02  # face widths, sigma over which skin between hairs is averaged with them
GROWN_WIDTH = 256  # pixels across the face at which the template's hair is grown; its mask is soft
NECK_WIDTH = 320  # pixels across the face at which the neck's colors are found
INPAINTED = 128  # pixels across the face at which the surroundings are filled in; they are smooth
THINNEST = 0.05  # value of the hair's mask above which a pixel says nothing about what lies behind
BORDER = 0.012  # face widths that skin must be away from collars and hair


def list_difficulties(template: FacialHair, person: FacialHair) -> list[str]:
    """Say what of both faces' hair cannot follow the person cleanly."""
    found = {
        "the template's beard reaches further down than it is taken off": template.long and not person.long,
        "the template's beard is wider than a neck, and what lies behind it is guessed": template.wide
        and not person.wide,
        "the person's beard reaches further down than it is brought along": person.long,
        "the person's moustache hides their upper lip": person.over_lips,
    }
    return [difficulty for difficulty, there in found.items() if there]


@dataclass(frozen=True, eq=False)
class BeardTransfer:
    """The facial hair of both faces on one crop.

    Attributes:
        template, person: masks, (h, w), of the template's and of the person's facial hair.
    """

    template: Mask
    person: Mask

    @classmethod
    def of(cls, template: Mask, person: Mask, crop: FaceCrop) -> "BeardTransfer":
        """Take the masks of facial hair on a crop, (h, w), of which the template's is changed in two ways.

        What looks like the face's skin is stubble, which ends at the jaw and on the neck: beside the cheeks it is skin
        in the shade, or an ear. All else is grown, since hair sticks out.

        Args:
            template, person: masks, (h, w), of the template's and of the person's facial hair.
            crop: the template's face.
        """
        if not template.any():
            return cls(template, person)
        working = WorkingSize.of(template.shape, crop.width, GROWN_WIDTH)
        width = min(crop.width, GROWN_WIDTH)
        stray = STRAY * width
        stubbly = np.maximum(crop.outline(0.0), _neck_column(crop) * below_mouth(crop))
        hair, like, stubbly = (working.reduce(one) for one in (template, crop.skin_likeness, stubbly))
        bristly = np.clip(3 - 3 * blur(like, TEXTURE * width), 0, 1)
        side = 2 * round(stray) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        grown = np.maximum(hair * stubbly, cv2.dilate(hair * bristly, kernel))
        return cls(working.enlarge(cv2.GaussianBlur(grown, (0, 0), max(stray / 2, 0.3))), person)

    @property
    def either(self) -> Mask:
        """Mask, (h, w), of where either face has facial hair."""
        return np.maximum(self.template, self.person)

    def shave(self, drawn: Lab, skin: Mask, usable: Mask, crop: FaceCrop) -> "Filling | None":
        """Return what fills in where the template's hair hides and the person's photo does not show the skin.

        That is all beyond the face, and inside of it what must not be taken from the photo, such as a lock of hair:
        else a line of the template's beard is left there.

        Args:
            drawn: the person's face on the crop, relit, LAB, (h, w, 3).
            skin: weight of its pixels that show the face's skin, (h, w).
            usable: mask of what may be taken from the person's photo, (h, w).
            crop: the moved template's face.

        Returns:
            None if the template has no such hair.
        """
        if not self.template.any():
            return None
        face = masks.face(crop.points, crop.size, 0.0, 0.01)
        bare = self.template * (1 - self.person) * np.maximum(1 - face, 1 - usable)
        total = float(skin.sum())
        if not bare.any() or total < LEAST:
            return None
        column = np.maximum(_neck_column(crop), face)
        mean = light.sum_channels(drawn * repeat(skin)) / total
        own = _neck_likeness(crop.lab, _mean_skin(crop), crop.width) * (1 - self.template) * (1 - face)
        filling = _draw_neck(drawn, mean, skin, face, self.person, bare * column, crop, own)
        beside = bare * (1 - column)
        if beside.max() > LEAST:
            filling = filling.under(Filling.of(light.to_lab(self._remove_from(crop)), beside.astype(np.float32)))
        return filling

    def _remove_from(self, crop: FaceCrop) -> Image:
        """Return the crop without the template's hair, filled in from around it; inpainting after Telea (2004)."""
        factor = min(1.0, INPAINTED / crop.width)
        height, across = (max(1, round(side * factor)) for side in crop.size)
        small, hair = (
            cv2.resize(plane, (across, height), interpolation=cv2.INTER_AREA) for plane in (crop.image, self.template)
        )
        # what lies behind the beard is not what lies inside the face
        hidden = (hair > THINNEST) | (masks.face(crop.points * factor, (height, across), 0.0, 0.0) > 0.5)
        clear = cv2.inpaint(small, hidden.astype(np.uint8), round(FILL * INPAINTED), cv2.INPAINT_TELEA)
        around: Image = cv2.resize(clear, crop.size[::-1], interpolation=cv2.INTER_CUBIC)
        return around


@dataclass(frozen=True, eq=False)
class Filling:
    """Colors that are laid over a picture.

    Attributes:
        color: LAB, multiplied by the share, (h, w, 3).
        share: of each pixel that they cover, (h, w).
    """

    color: Lab
    share: Mask

    @classmethod
    def of(cls, color: Lab, share: Mask) -> "Filling":
        """Return a filling of a color, LAB, (h, w, 3), that covers a share, (h, w), of each pixel."""
        return cls(color * repeat(share), share)

    def under(self, other: "Filling") -> "Filling":
        """Return the filling that looks like both, with the other one on top."""
        free = 1 - other.share
        return Filling(self.color * repeat(free) + other.color, 1 - (1 - self.share) * free)

    def apply(self, picture: Lab) -> Lab:
        """Return a picture, LAB, (h, w, 3), with the filling on it."""
        filled: Lab = picture * repeat(1 - self.share) + self.color
        return filled


def _draw_neck(
    drawn: Lab, mean: Lab, skin: Mask, face: Mask, hair: Mask, where: Mask, crop: FaceCrop, own: Mask
) -> Filling:
    """Return skin as of a neck, of which `where`, (h, w), says how much is to be seen, where the drawn face shows none.

    It has the color of a neck nearby, the template's or the person's, or else the face's, shaded. It is smooth, so it
    is computed at a bounded size.

    Args:
        drawn: LAB, (h, w, 3).
        mean: the mean color of the face's skin, LAB, (3,).
        skin, face, hair: masks of the face's skin, of the whole face, and of the person's facial hair, (h, w).
        where: the share of the neck, (h, w).
        crop: the moved template's face.
        own: mask of the template's neck, where no beard hides it, (h, w).
    """
    neck = _neck_likeness(drawn, mean.astype(np.float32), crop.width) * (1 - hair) * (1 - face)
    shown = drawn * repeat(neck) + crop.lab * repeat(OWN * own)
    low = RowEnlarger(
        _fill_neck(drawn, mean.astype(np.float32), shown, neck + OWN * own, skin, face, crop.width), drawn.shape[:2]
    )
    return Filling.of(low.cut(slice(0, len(drawn))), (where * (1 - neck)).astype(np.float32))


def _mean_skin(crop: FaceCrop) -> Lab:
    """Return the mean color of a face's skin, LAB, (3,)."""
    mean: Lab = light.sum_channels(crop.lab * repeat(crop.skin)) / max(float(crop.skin.sum()), LEAST)
    return mean


def _fill_neck(drawn: Lab, mean: Lab, shown: Lab, known: Mask, skin: Mask, face: Mask, width: float) -> Lab:
    """Return the color that is filled in, LAB, with at most NECK_WIDTH pixels across the face.

    `shown` is the color of the necks that are seen, LAB, (h, w, 3), multiplied by `known`, how much of them, (h, w).
    """
    factor = min(1.0, NECK_WIDTH / width)
    size = max(1, round(drawn.shape[1] * factor)), max(1, round(drawn.shape[0] * factor))

    def reduce(plane: Mask | Lab) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)

    sigma = FILL * width * factor
    below = cv2.distanceTransform((reduce(face) < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / (width * factor)
    shade = np.ones((*size[::-1], 3), np.float32)
    shade[..., 0] = np.interp(below, (0, ROUND, ROUND + DEEP), (1, UNDER, LOWER))
    seen, sure_seen = blur(reduce(shown), sigma), blur(reduce(known), sigma)[..., None]
    guess, sure = blur(reduce(drawn * repeat(skin)), sigma), blur(reduce(skin), sigma)[..., None]
    filled = (seen + GUESS * shade * (guess + LEAST * mean)) / (sure_seen + GUESS * (sure + LEAST))
    return np.asarray(filled, np.float32)


def _neck_column(crop: FaceCrop) -> Mask:
    """Return the mask, (h, w), of the strip below the face that a neck fills."""
    points = crop.points
    x = np.arange(crop.size[1], dtype=np.float32)
    y = np.arange(crop.size[0], dtype=np.float32)[:, None]
    down = points[8] - points[27]
    across = np.array([down[1], -down[0]], np.float32) / np.float32(np.linalg.norm(down) * crop.width)
    middle = points[[4, 12]].mean(axis=0).astype(np.float32)
    off = np.abs((x - middle[0]) * across[0] + (y - middle[1]) * across[1])
    column: Mask = np.clip((NECK - off) / (NECK - SURELY_NECK), 0, 1).astype(np.float32)
    return column


def below_mouth(crop: FaceCrop) -> Mask:
    """Return the mask, (h, w), of what lies below the mouth, with a soft border."""
    mouth, down = crop.points[LIPS].mean(axis=0), crop.points[8] - crop.points[27]
    x = np.arange(crop.size[1], dtype=np.float32)
    y = np.arange(crop.size[0], dtype=np.float32)[:, None]
    below = ((x - mouth[0]) * down[0] + (y - mouth[1]) * down[1]) / (np.linalg.norm(down) * crop.width)
    mask: Mask = np.clip(below / UNDER_MOUTH, 0, 1).astype(np.float32)
    return mask


def _neck_likeness(drawn: Lab, skin: Lab, width: float) -> Mask:
    """Return how much each pixel looks like shaded or lit skin of this color, LAB, (3,): 0 to 1, (h, w)."""
    chroma = max(float(np.hypot(skin[1], skin[2])), 1.0)
    like = np.empty(drawn.shape[:2], np.float32)
    for rows in list_strips(drawn.shape):
        lightness, a, b = cv2.split(drawn[rows])
        away = cv2.magnitude(a - skin[1], b - skin[2])
        color = np.clip((TINT[1] - away / chroma) / (TINT[1] - TINT[0]), 0, 1)
        light = lightness / max(float(skin[0]), 1.0)
        like[rows] = color * np.clip((light - DEEPEST) / (SHADED - DEEPEST), 0, 1) * (light < LIT)
    side = 2 * max(1, round(BORDER * width)) + 1
    inner: Mask = blur(cv2.erode(like, np.ones((side, side), np.uint8)), max(BORDER * width, 0.5))
    return inner
