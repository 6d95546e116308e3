"""Objects cut out of real pictures, to be put before faces: hands, a cup, masks, a microphone, hair, a brim, a page.

None of them is what the occluder network was trained on, which is painted.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from functions.generate.face.landmarks import face_width
from shared.imaging.array_types import Image, Mask, Points

Outline = list[tuple[int, int]]

# outlines of hands, x and y in pixels of pictures of the folder `groups`
OPEN_HAND: Outline = [
    (120, 203), (128, 195), (137, 208), (153, 227), (170, 237), (176, 226), (163, 205), (139, 173),
    (138, 160), (148, 154), (160, 167), (177, 192), (192, 215), (195, 205), (180, 185), (155, 148),
    (157, 135), (168, 132), (180, 145), (200, 170), (213, 202), (208, 178), (192, 157), (189, 145),
    (198, 138), (217, 148), (235, 173), (247, 200), (258, 223), (273, 240), (280, 243), (283, 223),
    (293, 207), (304, 198), (310, 202), (302, 237), (304, 267), (297, 287), (280, 317), (282, 353),
    (260, 383), (213, 398), (200, 333), (180, 307), (167, 270), (160, 252), (140, 230),
]  # fmt: skip
DARK_HAND: Outline = [
    (300, 551), (334, 554), (364, 548), (398, 547), (409, 540), (416, 543), (414, 553), (400, 565),
    (391, 564), (396, 567), (420, 575), (444, 583), (473, 595), (474, 601), (468, 607), (440, 598),
    (412, 595), (408, 598), (424, 612), (436, 622), (436, 631), (428, 638), (412, 632), (400, 621),
    (409, 632), (412, 640), (404, 646), (388, 638), (381, 633), (390, 644), (391, 651), (384, 655),
    (360, 643), (340, 638), (326, 628), (312, 612), (300, 608),
]  # fmt: skip
OLD_HAND: Outline = [
    (228, 602), (248, 580), (275, 573), (288, 578), (296, 584), (318, 615), (337, 640), (338, 650),
    (330, 653), (334, 665), (326, 672), (320, 676), (310, 678), (294, 672), (294, 680), (285, 681),
    (268, 669), (238, 635), (225, 615),
]  # fmt: skip
CUP: Outline = [
    (176, 80), (200, 40), (270, 18), (340, 30), (408, 80), (395, 150), (375, 200), (330, 225),
    (230, 222), (200, 190),
]  # fmt: skip
# where the fingers of a hand point to, in degrees counted from the right downwards
UPWARDS, RIGHTWARDS, DOWN_RIGHT = -90.0, 15.0, 45.0


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of a picture.

    Attributes:
        image: RGB, uint8, (h, w, 3).
        alpha: how much of each pixel belongs to the object, 0 to 1, (h, w).
        pointing: the direction in which it points, in degrees from the right downwards.
    """

    image: Image
    alpha: Mask
    pointing: float


@dataclass(frozen=True, eq=False)
class Covered:
    """A face with an object before it.

    Attributes:
        image: RGB, uint8, (H, W, 3).
        alpha: how much of each pixel the object covers, (H, W).
    """

    image: Image
    alpha: Mask


class Cutouts:
    """The objects, read from the folder of photos and from packages."""

    def __init__(self, photos: Path) -> None:
        groups = photos / "groups"
        self.hands = [
            _cut(_read(groups / "obama_and_biden.jpg"), OPEN_HAND, UPWARDS),
            _cut(_read(groups / "detection2.jpg"), DARK_HAND, RIGHTWARDS),
            _cut(_read(groups / "detection6.jpg"), OLD_HAND, DOWN_RIGHT),
        ]
        self.cup = _cut(data.coffee(), CUP, UPWARDS)
        import insightface

        folder = Path(insightface.__file__).parent / "data" / "images"
        self.masks = [_read(folder / f"mask_{color}.jpg") for color in ("black", "blue", "green", "white")]
        self.hair = _read(groups / "detection1.jpg")[180:420, 255:330]
        self.cloth = [_read(groups / "detection3.jpg")[330:470, 380:470], data.astronaut()[330:480, 20:120]]
        self.page, self.foam = np.dstack([data.page()] * 3), np.dstack([data.gravel()[:200, :200]] * 3)

    def put(self, kind: str, image: Image, points: Points, rng: np.random.Generator) -> Covered:
        """Put an object of a kind before the face at `points`, at a random place, scale and angle."""
        pixels, alpha = getattr(self, f"_{kind}")(image, points, rng)
        alpha = cv2.GaussianBlur(np.clip(alpha, 0, 1).astype(np.float32), (0, 0), 0.6)
        light = np.exp(rng.normal(0, 0.15))
        mixed = image * (1 - alpha[..., None]) + np.clip(pixels * light, 0, 255) * alpha[..., None]
        return Covered(np.clip(np.round(mixed), 0, 255).astype(np.uint8), alpha)

    def _hand(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        piece, width = self.hands[rng.integers(len(self.hands))], face_width(points)
        target = points[[2, 14, 48, 54, 8, 33, 5, 11][rng.integers(8)]]
        outwards = target - points[27:36].mean(axis=0) + np.array([0, 0.15 * width])
        angle = np.degrees(np.arctan2(-outwards[1], -outwards[0])) + rng.normal(0, 20)
        # the fingertips, and not the middle of the hand, lie on the target
        length = rng.uniform(0.6, 0.95) * width
        direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        return _place(piece, image.shape, target - direction * 0.25 * length, length, angle)

    def _cup(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        width = face_width(points)
        at = points[57] + rng.normal(0, 0.08, 2) * width + np.array([0, 0.1 * width])
        return _place(self.cup, image.shape, at, rng.uniform(0.35, 0.6) * width, UPWARDS + rng.normal(0, 15))

    def _mask(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        texture = self.masks[rng.integers(len(self.masks))]
        high = points[27] + (points[29] - points[27]) * rng.uniform(0.4, 1.2)
        left, right, low_left, low_right = points[2], points[14], points[5], points[11]
        down = points[8] - high
        corners = np.stack(
            [
                left * 0.7 + high * 0.3 - 0.1 * down,
                right * 0.7 + high * 0.3 - 0.1 * down,
                low_right + 0.15 * down,
                low_left + 0.15 * down,
            ]
        )
        size = texture.shape[1::-1]
        onto = cv2.getPerspectiveTransform(
            np.array([[0, 0], [size[0], 0], size, [0, size[1]]], np.float32), corners.astype(np.float32)
        )
        pixels = cv2.warpPerspective(texture, onto, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
        jaw = points[2:15] + (points[2:15] - points[30]) * 0.03
        return pixels.astype(np.float32), _fill(np.vstack([jaw, high]), image.shape)

    def _microphone(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        width = face_width(points)
        center = points[57] + rng.normal(0, 0.08, 2) * width + np.array([0, 0.08 * width])
        radius = rng.uniform(0.12, 0.2) * width
        angle = rng.normal(np.pi / 2, 0.4)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        away = np.hypot(x - center[0], y - center[1]) / radius
        end = center + along * 3 * width
        handle = np.stack(
            [
                center + across * radius * 0.6,
                end + across * radius * 0.4,
                end - across * radius * 0.4,
                center - across * radius * 0.6,
            ]
        )
        texture = cv2.resize(self.foam, (max(8, round(2 * radius)),) * 2, interpolation=cv2.INTER_AREA)
        tiled = np.tile(texture, (image.shape[0] // len(texture) + 1, image.shape[1] // len(texture) + 1, 1))
        dark = tiled[: image.shape[0], : image.shape[1]] * rng.uniform(0.2, 0.7)
        shade = np.where(
            away < 1,
            1.2 - 0.8 * away**2,
            0.55 - 0.3 * np.abs((x - center[0]) * across[0] + (y - center[1]) * across[1]) / radius,
        )
        alpha = np.maximum((away < 1).astype(np.float32), _fill(handle, image.shape))
        return (dark * np.clip(shade, 0.1, 2)[..., None]).astype(np.float32), alpha

    def _hair(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        width, side = face_width(points), int(rng.integers(2))
        begin = points[18 if side == 0 else 25] + (points[27] - points[8]) * rng.uniform(0.3, 0.5)
        end = points[4 if side == 0 else 12] + rng.normal(0, 0.08, 2) * width
        bend = (begin + end) / 2 + rng.normal(0, 0.12, 2) * width
        t = np.linspace(0, 1, 24)[:, None]
        line = (1 - t) ** 2 * begin + 2 * t * (1 - t) * bend + t * t * end
        thick = rng.uniform(0.03, 0.08) * width * np.sin(np.pi * np.clip(t * 0.9 + 0.1, 0, 1)) ** 0.5
        across = np.array([-(end - begin)[1], (end - begin)[0]]) / np.linalg.norm(end - begin)
        alpha = _fill(np.vstack([line + across * thick, (line - across * thick)[::-1]]), image.shape)
        length = float(np.linalg.norm(end - begin))
        angle = float(np.degrees(np.arctan2(*(end - begin)[::-1])))
        piece = Piece(self.hair, np.ones(self.hair.shape[:2], np.float32), 90.0)
        pixels, _ = _place(piece, image.shape, (begin + end) / 2, 1.3 * length, angle)
        return pixels, alpha

    def _brim(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        width = face_width(points)
        up = (points[27] - points[8]) / np.linalg.norm(points[27] - points[8])
        across = np.array([-up[1], up[0]])
        middle = points[17:27].mean(axis=0) + up * rng.uniform(-0.05, 0.12) * width
        x = np.linspace(-0.75, 0.75, 24)[:, None]
        low = middle + across * x * width + up * (rng.uniform(-0.25, 0.25) * x**2 + rng.normal(0, 0.05) * x) * width
        alpha = _fill(np.vstack([low, (low + up * 0.6 * width)[::-1]]), image.shape)
        cloth = self.cloth[rng.integers(len(self.cloth))]
        pixels, _ = _place(
            Piece(cloth, np.ones(cloth.shape[:2], np.float32), 0.0), image.shape, middle, 1.8 * width, 10.0
        )
        return pixels, alpha

    def _page(self, image: Image, points: Points, rng: np.random.Generator) -> tuple[NDArray[np.float32], Mask]:
        width = face_width(points)
        at = points[8] + rng.normal(0, 0.1, 2) * width + (points[27] - points[8]) * rng.uniform(-0.1, 0.25)
        piece = Piece(self.page, np.ones(self.page.shape[:2], np.float32), 0.0)
        return _place(piece, image.shape, at, rng.uniform(0.6, 1.1) * width, rng.normal(0, 25))


KINDS = ("hand", "cup", "mask", "microphone", "hair", "brim", "page")


def _read(path: Path) -> Image:
    image: Image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return image


def _cut(picture: Image, outline: Outline, pointing: float) -> Piece:
    corners = np.array(outline)
    left, top = np.maximum(corners.min(axis=0) - 4, 0)
    right, bottom = corners.max(axis=0) + 5
    alpha = _fill(corners.astype(float), picture.shape)[top:bottom, left:right]
    alpha = cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    return Piece(picture[top:bottom, left:right], alpha, pointing)


def _place(
    piece: Piece, shape: tuple[int, ...], at: Points, length: float, angle: float
) -> tuple[NDArray[np.float32], Mask]:
    """Return the piece on a canvas of a shape, its middle at a place, as long as `length`, pointing at an angle."""
    height, width = piece.alpha.shape
    scale = length / max(height, width)
    image, alpha = piece.image, piece.alpha
    if scale < 1:  # averaged down first, since the warp only interpolates
        size = max(2, round(width * scale)), max(2, round(height * scale))
        image, alpha = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (image, alpha))
        height, width, scale = size[1], size[0], 1.0
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), piece.pointing - angle, scale)
    matrix[:, 2] += at - np.array([(width - 1) / 2, (height - 1) / 2])
    size = shape[1], shape[0]
    pixels = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    covered: Mask = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR)
    return pixels.astype(np.float32), covered


def _fill(outline: Points, shape: tuple[int, ...]) -> Mask:
    canvas = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(canvas / 255, np.float32)
