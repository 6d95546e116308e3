"""Find what must not be taken from the person's photo: a fringe, a hat, a collar at the chin."""

import cv2
import numpy as np

from functions.generate.face import masks
from functions.generate.face.landmarks import BROWS, CHIN, face_width
from functions.generate.face.light import Border, Lab
from functions.generate.face.working_size import WorkingSize
from shared.imaging.array_types import Mask, Points

WORKING_WIDTH = 256  # pixels across the face; the mask is smooth, so a large face needs no more
OUTLINE_WIDTH = 384  # the same for the outline, which follows the border between skin and background
HAIR_MARGIN, HAIR_SOFTNESS = 0.03, 0.02  # face widths, around hair on the forehead
OBJECT_MARGIN = 0.02  # face widths around an object before the person's face, where its edge and its shadow are
RISE = 0.08  # face widths over which the region above the brows fades in
ABOVE, BELOW = 0.05, -0.12  # where it starts, in face widths above the brows: without a fringe, and with a full one
BAND = (0.03, 0.13)  # face widths above the brows, where a fringe would be
CHEEK = -0.05  # face widths above the brows; the skin below this height is what hair is compared with
DARKER = (12.0, 20.0)  # lightness below that of the cheeks: up to the first it may be shade, from the second it is hair
LOCK = (26.0, 36.0)  # the same for hair beside the cheeks, where a face's shaded side is up to 25 darker
FRINGE = (0.23, 0.36)  # share of hair in BAND: 0.36 for strands, 0.6 to 0.8 for a fringe, up to 0.22 without hair
OUTLINE, PORES = 0.08, 0.008  # face widths: how wrong an outline may be; size of moles and lines that are skin
# likeness to the face's skin up to which it is what lies behind, and from which skin: a gray wall beside dark one: 0.4
BACKGROUND, SURELY_SKIN = 0.25, 0.6
# of skin in the shade: least lightness relative to the skin's, and difference of color relative to the chroma that skin
# has there; up to the first it is like skin, from the second not
DEEPEST, SHADE_TINT = 0.2, (0.3, 0.6)
BORDER = 0.06  # face widths inside the outline, over which the light is matched closely: the jaw turns away there
RIM = 0.16  # face widths that a collar, a hand or the background may reach into the outline
SAMPLING_SIDE = 200  # pixels per row sampled to find the skin's median color; more give the same median
STRANGE = (22.0, 34.0)  # distance from the skin's color in a and b: lips and beards are nearer, shirts may be farther


def usable_mask(points: Points, drawn: Lab, skin_drawn: Mask, skin_base: Mask) -> Mask:
    """Return the mask of what may be taken from the person's drawn face, (H, W).

    Above the brows, only pixels well inside the skin of both faces are taken, so that no fringe is cut in two. If the
    person's fringe hides the brows, the template's brows stay too. Near the outline, no color that a face does not have
    is taken, and no lock of hair.

    Args:
        points: the face's landmarks, (68, 2), in pixels of the canvas.
        drawn: the person's face on the canvas, LAB, (H, W, 3).
        skin_drawn, skin_base: how much each pixel of the person's and of the template's face looks like its skin.
    """
    working = WorkingSize.of(drawn.shape, face_width(points), WORKING_WIDTH)
    small = (working.reduce(plane) for plane in (drawn, skin_drawn, skin_base))
    taken: Mask = working.enlarge(_compute_mask(working.place(points), *small))
    return taken


def _compute_mask(points: Points, drawn: Lab, skin_drawn: Mask, skin_base: Mask) -> Mask:
    width = face_width(points)
    height, face = _height(points, skin_base.shape), masks.face(points, skin_base.shape[:2])
    rim = 1 - masks.face(points, skin_base.shape[:2], RIM, 0.02)
    hair = _hair(drawn, skin_drawn, height, face, DARKER)
    locks = _locks(points, _hair(drawn, skin_drawn, height, face, LOCK)) * rim
    forehead = face * (1 - masks.brows(points, skin_base.shape[:2]))
    hidden = measure_fringe(hair, height, forehead)
    both = cv2.GaussianBlur(skin_drawn * skin_base * (1 - hair), (0, 0), HAIR_SOFTNESS * width)
    both = cv2.erode(both, _disc(HAIR_MARGIN * width))
    clear = cv2.GaussianBlur(np.clip(both * 2.5 - 1, 0, 1), (0, 0), HAIR_SOFTNESS * width) * (1 - hidden)
    start = ABOVE + (BELOW - ABOVE) * hidden
    # an arched brow reaches higher than the middle of both: unless a fringe hides it, it is the person's as a whole
    above = np.clip((height - start) / RISE, 0, 1) * (1 - masks.brows(points, skin_base.shape[:2]) * (1 - hidden))
    taken: Mask = (1 - above * (1 - clear)) * (1 - np.maximum(_strange(drawn, skin_drawn, face, width) * rim, locks))
    return taken.astype(np.float32)


def spare(occluder: Mask, width: float) -> Mask:
    """Return the mask, (H, W), of what must not be taken from a drawn face because an object lies there, softly edged.

    Args:
        occluder: how much of each pixel of the drawn face is covered, (H, W).
        width: the face's width in pixels.
    """
    wide = cv2.dilate(np.clip(occluder, 0, 1), _disc(OBJECT_MARGIN * width))
    soft: Mask = cv2.GaussianBlur(wide, (0, 0), OBJECT_MARGIN / 2 * width)
    return soft


def within_outline(points: Points, base: Lab, skin_base: Mask) -> Mask:
    """Return the mask, (H, W), that is 0 near the face's outline where the template shows no skin, and 1 elsewhere.

    The outline is never exact, least on the far side of a turned head: there the background begins before it ends, and
    skin drawn onto that is a smear beside the cheek. A brow that reaches the outline and skin in the shade are the
    face's own: left there, they would be a second brow and a dark notch at the jaw.

    Args:
        points: the face's landmarks, (68, 2), in pixels of the canvas.
        base: the template's face on the canvas, LAB, (H, W, 3).
        skin_base: how much each pixel of the template's face looks like its skin, (H, W).
    """
    working = WorkingSize.of(skin_base.shape, face_width(points), OUTLINE_WIDTH)
    within: Mask = working.enlarge(_find_inside(working.place(points), working.reduce(base), working.reduce(skin_base)))
    return within


def _find_inside(points: Points, base: Lab, skin_base: Mask) -> Mask:
    width, size = face_width(points), (skin_base.shape[0], skin_base.shape[1])
    near = (1 - masks.face(points, size, OUTLINE, OUTLINE / 4)) * (1 - masks.brows(points, size))
    seen = np.maximum(skin_base, _shaded(base, skin_base))
    seen = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, _disc(PORES * width))
    seen = np.clip((seen - BACKGROUND) / (SURELY_SKIN - BACKGROUND), 0, 1)
    seen = cv2.GaussianBlur(seen, (0, 0), max(PORES * width, 0.5))
    within: Mask = (1 - near * (1 - seen)).astype(np.float32)
    return within


def find_border(
    points: Points, drawn: Lab, base: Lab, skin_drawn: Mask, skin_base: Mask, closeness: float = 1.0
) -> Border:
    """Return where the face ends at cheeks and jaw, and the skin there, for matching its light.

    Args:
        points: the face's landmarks, (68, 2), in pixels of the canvas.
        drawn, base: the person's and the template's face on the canvas, LAB, (H, W, 3).
        skin_drawn, skin_base: how much each of their pixels looks like the skin of its face, (H, W).
        closeness: how closely the light is to be matched there, 0 to 1; with 0 it is as in the middle of the face.
    """
    size = skin_base.shape[0], skin_base.shape[1]
    brows, chin = points[BROWS].mean(axis=0), points[CHIN]
    above = points[BROWS] + (brows - chin)  # hair and hats shade a forehead, and are no border
    near = closeness * (1 - masks.face(points, size, BORDER, BORDER / 3, above))
    inside = masks.face(points, size, 0.0, 0.01, above) * (1 - masks.features(points, size))
    skins = (inside * np.maximum(skin, _shaded(lab, skin)) for lab, skin in ((drawn, skin_drawn), (base, skin_base)))
    return Border(near, *skins)


def _shaded(base: Lab, skin_base: Mask) -> Mask:
    """Return how much each pixel looks like the skin in the shade, 0 to 1, (H, W).

    All of LAB is proportional to the cube root of the light: in the shade, chroma falls as lightness does.
    """
    every = max(1, max(skin_base.shape) // SAMPLING_SIDE)
    skin = base[::every, ::every][skin_base[::every, ::every] > 0.5]
    if len(skin) == 0:
        return np.zeros(skin_base.shape, np.float32)
    lightness, a, b = (float(one) for one in np.median(skin, axis=0))
    relative = base[..., 0] / max(lightness, 1.0)
    away = cv2.magnitude(base[..., 1] - a * relative, base[..., 2] - b * relative)
    away /= np.maximum(relative * np.hypot(a, b), 1)
    like = np.clip((SHADE_TINT[1] - away) / (SHADE_TINT[1] - SHADE_TINT[0]), 0, 1)
    shaded: Mask = (like * ((relative > DEEPEST) & (relative < 1))).astype(np.float32)
    return shaded


def measure_fringe(hair: Mask, height: Mask, forehead: Mask) -> float:
    """Return how surely hair hides the forehead down to the brows, 0 to 1.

    Args:
        hair: how surely each pixel is hair, (H, W).
        height: how far above the middle of the brows it lies, in face widths, (H, W).
        forehead: the face without its brows, (H, W); on a head that looks up they reach high, and are no fringe.
    """
    band = (height > BAND[0]) & (height < BAND[1]) & (forehead > 0.5)
    if not band.any():
        return 0.0
    return float(np.clip((float(hair[band].mean()) - FRINGE[0]) / (FRINGE[1] - FRINGE[0]), 0, 1))


def _locks(points: Points, hair: Mask) -> Mask:
    """Return the mask, (H, W), of hair that hangs beside the eyes and cheeks; beards are left out.

    The hair may be the person's or a neighbor's.
    """
    size, width = hair.shape[:2], face_width(points)
    bridge, chin = points[27], points[8]
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    down = (chin - bridge) / np.linalg.norm(chin - bridge)
    below_mouth = (x - points[48:60, 0].mean()) * down[0] + (y - points[48:60, 1].mean()) * down[1] > 0
    found = cv2.morphologyEx(
        hair * ~below_mouth * (1 - masks.eyes(points, size, growth=0.03)), cv2.MORPH_OPEN, _disc(0.01 * width)
    )
    found = cv2.GaussianBlur(cv2.dilate(found, _disc(HAIR_MARGIN * width)), (0, 0), HAIR_SOFTNESS * width)
    locks: Mask = found * (1 - masks.features(points, size, 0.0, 0.015))
    return locks


def _hair(drawn: Lab, skin_drawn: Mask, height: Mask, face: Mask, limits: tuple[float, float]) -> Mask:
    """Return the mask, (H, W), of what is too dark for a forehead: hair, or a hat and its shadow."""
    cheeks = drawn[..., 0][(height < CHEEK) & (face > 0.5) & (skin_drawn > 0.5)]
    if cheeks.size == 0:
        return np.zeros(face.shape, np.float32)
    darker = float(np.median(cheeks)) - drawn[..., 0]
    hair: Mask = np.clip((darker - limits[0]) / (limits[1] - limits[0]), 0, 1).astype(np.float32)
    return hair


def _height(points: Points, size: tuple[int, ...]) -> Mask:
    """Return how far above the middle of the brows each pixel lies, in face widths, (H, W)."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    brows, bridge = points[17:27].mean(axis=0), points[27:31].mean(axis=0)
    up = (brows - bridge) / np.linalg.norm(brows - bridge)
    height: Mask = (((x - brows[0]) * up[0] + (y - brows[1]) * up[1]) / face_width(points)).astype(np.float32)
    return height


def _strange(drawn: Lab, skin_drawn: Mask, face: Mask, width: float) -> Mask:
    """Return the mask, (H, W), of colors that neither skin nor hair has."""
    skin = drawn[(skin_drawn > 0.5) & (face > 0.5)]
    if len(skin) == 0:
        return np.zeros(face.shape, np.float32)
    a, b = np.median(skin[:, 1:], axis=0)
    away = cv2.magnitude(drawn[..., 1] - a, drawn[..., 2] - b)
    found = np.clip((away - STRANGE[0]) / (STRANGE[1] - STRANGE[0]), 0, 1).astype(np.float32)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, _disc(0.01 * width))  # removes specks
    strange: Mask = cv2.GaussianBlur(cv2.dilate(found, _disc(HAIR_MARGIN * width)), (0, 0), HAIR_SOFTNESS * width)
    return strange


def _disc(radius: float) -> Mask:
    side = 2 * round(radius) + 1
    disc: Mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return disc
