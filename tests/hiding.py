"""Things before faces: cups, hands, cloths, books, masks, bars, drawn over a picture by the landmarks of its face.

They are those of benchmarks/hidden_faces.py and of the tests.
"""

from collections.abc import Callable

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from shared.faces import Face
from shared.imaging.array_types import Image

COLORS = {
    "red": (200, 25, 35),
    "white": (235, 232, 225),
    "black": (25, 25, 30),
    "blue": (40, 70, 150),
    "skin": (205, 150, 120),
    "gray": (128, 128, 128),
}
TEXTURES = ("brick", "grass", "gravel")  # of skimage
STUFFS = {
    "cup": ("red", "white", "black", "brick"),
    "large cup": ("red", "blue"),
    "cup on one side": ("red", "white"),
    "left half": ("gray", "skin", "grass", "black"),
    "right half": ("gray", "blue", "brick", "white"),
    "left third": ("gray", "grass"),
    "right third": ("black", "skin"),
    "below the nose": ("gray", "white", "gravel"),
    "mask": ("blue", "white", "black"),
    "bar over the eyes": ("black", "gray", "brick"),
    "hat over the eyes": ("red", "grass"),
    "hat over the brows": ("black", "gravel"),
    "book": ("red", "brick", "white"),
    "cloth": ("blue", "grass", "gravel"),
    "hand on the mouth": ("skin",),
    "hand on an eye": ("skin",),
}
"""What hides, and what it is made of."""

Map = NDArray[np.float32]
Shape = tuple[NDArray[np.bool_], Map]
"""What the thing covers, and its brightness."""


class _Place:
    """Positions of a face's parts, and of all pixels, (H, W)."""

    def __init__(self, image: Image, face: Face) -> None:
        marks = face.landmarks
        self.y, self.x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        self.marks = marks
        self.left, self.right = float(marks[:17, 0].min()), float(marks[:17, 0].max())
        self.width, self.center = self.right - self.left, (self.left + self.right) / 2
        self.eyes, self.mouth, self.nose, self.chin = (
            marks[36:48].mean(axis=0),
            marks[48:].mean(axis=0),
            marks[33],
            marks[8],
        )
        self.middle = (float(self.nose[0]) + self.center) / 2
        self.top = float(marks[17:27, 1].min()) - 0.6 * self.width
        self.upright = (self.y > self.top) & (self.y < self.chin[1] + 0.3 * self.width)
        self.lit = np.ones_like(self.x)

    def beside(self, from_x: float, to_x: float) -> Shape:
        return (self.x > from_x) & (self.x < to_x) & self.upright, self.lit

    def across(self, from_y: float, to_y: float) -> Shape:
        return (self.y > from_y) & (self.y < to_y) & (abs(self.x - self.center) < 0.65 * self.width), self.lit

    def cup(self, x: float, top: float, radius: float, below: float) -> Shape:
        along = (self.x - x) / (radius * self.width)
        covered = (abs(along) < 1) & (self.y > top) & (self.y < self.chin[1] + below * self.width)
        return covered, (0.65 + 0.45 * np.cos(1.3 * along)).astype(np.float32)

    def tilted(self, x: float, y: float, degrees: float) -> tuple[Map, Map]:
        """Positions from (x, y), in widths of the face, along axes that are turned."""
        angle = np.float32(np.radians(degrees))
        right, down = (self.x - x) / self.width, (self.y - y) / self.width
        return right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)

    def hand(self, x: float, y: float, palm: tuple[float, float], finger: float, apart: float, up: float) -> Shape:
        right, down = self.tilted(x, y, 0)
        covered, light = (right / palm[0]) ** 2 + (down / palm[1]) ** 2 < 1, self.lit.copy()
        for index in range(4):
            away = np.hypot((right - (index - 1.6) * apart) / finger, (down + up) / 0.3)
            light[away < 1] = 0.8 + 0.25 * np.sqrt(1 - away[away < 1] ** 2)
            covered |= away < 1
        return covered, light

    def mask(self) -> Shape:
        right, down = self.tilted(self.center, float(self.mouth[1]), 0)
        return ((right / 0.52) ** 2 + (down / 0.42) ** 2 < 1) & (self.y > self.marks[29, 1]), self.lit

    def book(self) -> Shape:
        along, across = self.tilted(float(self.mouth[0]), float(self.chin[1]), 12)
        return (abs(along) < 0.7) & (abs(across) < 0.45), self.lit

    def cloth(self) -> Shape:
        along, _ = self.tilted(self.middle, float(self.nose[1]), 25)
        return (along > 0) & (along < 0.9) & (abs(self.y - self.nose[1]) < 1.1 * self.width), self.lit


SHAPES: dict[str, Callable[[_Place], Shape]] = {
    "cup": lambda at: at.cup(at.mouth[0], at.nose[1], 0.33, 0.35),
    "large cup": lambda at: at.cup(at.mouth[0], at.marks[30, 1], 0.45, 0.5),
    "cup on one side": lambda at: at.cup(at.mouth[0] + 0.22 * at.width, at.marks[29, 1], 0.36, 0.4),
    "left half": lambda at: at.beside(at.left - 0.3 * at.width, at.middle),
    "right half": lambda at: at.beside(at.middle, at.right + 0.3 * at.width),
    "left third": lambda at: at.beside(at.left - 0.3 * at.width, at.marks[39, 0]),
    "right third": lambda at: at.beside(at.marks[42, 0], at.right + 0.3 * at.width),
    "below the nose": lambda at: at.across(at.nose[1], at.chin[1] + 0.25 * at.width),
    "mask": _Place.mask,
    "bar over the eyes": lambda at: at.across(at.eyes[1] - 0.17 * at.width, at.eyes[1] + 0.17 * at.width),
    "hat over the eyes": lambda at: at.across(at.top, at.marks[29, 1] - 0.12 * at.width),
    "hat over the brows": lambda at: at.across(at.top, at.eyes[1] - 0.08 * at.width),
    "book": _Place.book,
    "cloth": _Place.cloth,
    "hand on the mouth": lambda at: at.hand(
        at.mouth[0] + 0.05 * at.width, at.mouth[1] + 0.25 * at.width, (0.34, 0.3), 0.085, 0.17, 0.33
    ),
    "hand on an eye": lambda at: at.hand(at.marks[45, 0] + 0.05 * at.width, at.nose[1], (0.28, 0.32), 0.075, 0.15, 0.4),
}


def hide(image: Image, face: Face, thing: str, stuff: str) -> Image:
    """Return the picture with a thing of STUFFS before a face whose landmarks are known."""
    covered, light = SHAPES[thing](_Place(image, face))
    height, width = image.shape[:2]
    if stuff in COLORS:
        layer = np.full(image.shape, COLORS[stuff], np.float32)
    else:
        layer = texture(stuff, max(height, width))[:height, :width].astype(np.float32)
    edge = max(0.006 * face.box.width, 0.4)
    share = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), edge)[..., None]
    made: Image = np.round(image * (1 - share) + np.clip(layer * light[..., None], 0, 255) * share).astype(np.uint8)
    return made


def texture(name: str, side: int) -> Image:
    """Return a texture of TEXTURES, (side, side, 3)."""
    gray = cv2.resize(getattr(skimage.data, name)(), (side, side))
    return np.repeat(gray[..., None], 3, axis=2)
