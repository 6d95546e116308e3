"""What of the person's photo must not come over: a fringe, a hat, a collar at the chin."""

import cv2
import numpy as np

from functions.generate.face import masks
from functions.generate.face.crop import rescale
from functions.generate.face.landmarks import face_width
from functions.generate.face.light import Lab
from shared.imaging.array_types import Mask, Points

WORKING_WIDTH = 256  # pixels across the face; what comes out is smooth, so that a large face needs no more
HAIR_MARGIN, HAIR_SOFTNESS = 0.03, 0.02  # in face widths, around what hangs over a forehead
RISE = 0.08  # of the face width over which what is above the brows begins
ABOVE, BELOW = 0.05, -0.12  # where it begins, measured from the brows: for a bare forehead, for a fringe over the brows
BAND = (0.03, 0.13)  # above the brows, where a fringe would be
CHEEK = -0.05  # below the brows, where the skin is that hair is compared with
DARKER = (12.0, 20.0)  # lightness below the cheeks': a shade yet, hair for sure
LOCK = (26.0, 36.0)  # and beside the cheeks, where a face's shaded side is up to 25 darker
FRINGE = (0.23, 0.36)  # share of that band in hair: strands have 0.36, a fringe 0.6 to 0.8, bare foreheads up to 0.22
RIM = 0.16  # of the face width that a collar, a hand or a background may reach into the outline
STRANGE = (22.0, 34.0)  # distance of a color from the skin's in a and b: lips and beards are nearer, shirts may not be


def usable_mask(points: Points, drawn: Lab, skin_drawn: Mask, skin_base: Mask) -> Mask:
    """How much of the person's drawn face may be taken, (H, W).

    Above the brows only what is well inside of the skin of both faces: no fringe is cut in two. Where the person's own
    fringe hides the brows, these are the template's too. At the rim nothing whose color is not a face's,
    and no lock of hair.

    Args:
        points: (68, 2) of the face, in pixels of the canvas.
        drawn: the person's face on the canvas.
        skin_drawn, skin_base: how much each pixel of the person's and of the template's face looks like its skin.
    """
    factor = WORKING_WIDTH / face_width(points)
    if factor >= 1:
        return _covering(points, drawn, skin_drawn, skin_base)
    size = max(1, round(drawn.shape[1] * factor)), max(1, round(drawn.shape[0] * factor))
    small = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (drawn, skin_drawn, skin_base))
    taken: Mask = cv2.resize(_covering(rescale(points, drawn.shape[:2], size[::-1]), *small), drawn.shape[1::-1])
    return taken


def _covering(points: Points, drawn: Lab, skin_drawn: Mask, skin_base: Mask) -> Mask:
    width = face_width(points)
    height, face = _height(points, skin_base.shape), masks.face(points, skin_base.shape[:2])
    hair = _hair(drawn, skin_drawn, height, face, DARKER)
    locks = _locks(points, _hair(drawn, skin_drawn, height, face, LOCK))
    hidden = measure_fringe(hair, height, face)
    both = cv2.GaussianBlur(skin_drawn * skin_base * (1 - hair), (0, 0), HAIR_SOFTNESS * width)
    both = cv2.erode(both, _disc(HAIR_MARGIN * width))
    clear = cv2.GaussianBlur(np.clip(both * 2.5 - 1, 0, 1), (0, 0), HAIR_SOFTNESS * width) * (1 - hidden)
    start = ABOVE + (BELOW - ABOVE) * hidden
    above = np.clip((height - start) / RISE, 0, 1)
    taken: Mask = (1 - above * (1 - clear)) * (1 - np.maximum(_strange(points, drawn, skin_drawn), locks))
    return taken.astype(np.float32)


def measure_fringe(hair: Mask, height: Mask, face: Mask) -> float:
    """Whether hair hides the forehead down to the brows, 0 to 1."""
    band = (height > BAND[0]) & (height < BAND[1]) & (face > 0.5)
    if not band.any():
        return 0.0
    return float(np.clip((float(hair[band].mean()) - FRINGE[0]) / (FRINGE[1] - FRINGE[0]), 0, 1))


def _locks(points: Points, hair: Mask) -> Mask:
    """1 at the rim where hair hangs beside the eyes and cheeks, the person's own or a neighbor's; beards may stay."""
    size, width = hair.shape[:2], face_width(points)
    bridge, chin = points[27], points[8]
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    down = (chin - bridge) / np.linalg.norm(chin - bridge)
    below_mouth = (x - points[48:60, 0].mean()) * down[0] + (y - points[48:60, 1].mean()) * down[1] > 0
    found = cv2.morphologyEx(
        hair * ~below_mouth * (1 - masks.eyes(points, size, growth=0.03)), cv2.MORPH_OPEN, _disc(0.01 * width)
    )
    found = cv2.GaussianBlur(cv2.dilate(found, _disc(HAIR_MARGIN * width)), (0, 0), HAIR_SOFTNESS * width)
    locks: Mask = found * (1 - masks.face(points, size, RIM, 0.02)) * (1 - masks.features(points, size, 0.0, 0.015))
    return locks


def _hair(drawn: Lab, skin_drawn: Mask, height: Mask, face: Mask, limits: tuple[float, float]) -> Mask:
    """What is too dark for a forehead: hair, or a hat and its shadow."""
    cheeks = drawn[..., 0][(height < CHEEK) & (face > 0.5) & (skin_drawn > 0.5)]
    if cheeks.size == 0:
        return np.zeros(face.shape, np.float32)
    darker = float(np.median(cheeks)) - drawn[..., 0]
    hair: Mask = np.clip((darker - limits[0]) / (limits[1] - limits[0]), 0, 1).astype(np.float32)
    return hair


def _height(points: Points, size: tuple[int, ...]) -> Mask:
    """How far above the middle of the brows each pixel lies, in face widths."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    brows, bridge = points[17:27].mean(axis=0), points[27:31].mean(axis=0)
    up = (brows - bridge) / np.linalg.norm(brows - bridge)
    height: Mask = (((x - brows[0]) * up[0] + (y - brows[1]) * up[1]) / face_width(points)).astype(np.float32)
    return height


def _strange(points: Points, drawn: Lab, skin_drawn: Mask) -> Mask:
    """1 at the rim where the drawn picture has a color that neither skin nor hair has."""
    size = drawn.shape[:2]
    width = face_width(points)
    skin = drawn[(skin_drawn > 0.5) & (masks.face(points, size) > 0.5)]
    if len(skin) == 0:
        return np.zeros(size, np.float32)
    away = np.linalg.norm(drawn[..., 1:] - np.median(skin[:, 1:], axis=0), axis=-1)
    found = np.clip((away - STRANGE[0]) / (STRANGE[1] - STRANGE[0]), 0, 1).astype(np.float32)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, _disc(0.01 * width))  # without specks
    found = cv2.GaussianBlur(cv2.dilate(found, _disc(HAIR_MARGIN * width)), (0, 0), HAIR_SOFTNESS * width)
    strange: Mask = found * (1 - masks.face(points, size, RIM, 0.02))
    return strange


def _disc(radius: float) -> Mask:
    side = 2 * round(radius) + 1
    disc: Mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return disc
