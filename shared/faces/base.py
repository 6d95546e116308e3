"""What a face is, and what every face engine can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from shared.errors import ConfigurationError, PhotogError
from shared.imaging.array_types import Embedding, Image, Points

Chip = Image
"""A face cut out and aligned as an engine's recognizer wants it; a few kilobytes that stand for the whole picture."""


class FaceError(PhotogError):
    """The engine failed on this picture or this face; another picture may work."""


class EngineUnavailable(ConfigurationError):
    """The face engine cannot be loaded here; the message says what to install, to download or to set."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; `right` and `bottom` lie just outside of it."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, factor: float) -> "Box":
        """The same rectangle in a picture that is `factor` times as large."""
        return Box(self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    def square(self, factor: float) -> "Box":
        """The square around the same center, `factor` times the longer side."""
        half = max(self.width, self.height) * factor / 2
        x, y = self.center
        return Box(x - half, y - half, x + half, y + half)

    def rounded(self) -> tuple[int, int, int, int]:
        """left, top, right, bottom as integers, as answers carry them."""
        return round(self.left), round(self.top), round(self.right), round(self.bottom)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a picture.

    Attributes:
        box: around the face, brows to chin.
        landmarks: the 68 points of the iBUG 300-W scheme, (68, 2), in pixels of the picture.
        score: the detector's confidence; its scale is the engine's own.
        mesh: where the engine has them, the 478 points of MediaPipe's face mesh, (478, 3), z in pixels, too,
            and growing away from the camera. The last ten are the irises' and are far off at times.
    """

    box: Box
    landmarks: Points
    score: float
    mesh: Points | None = None


class FaceEngine(Protocol):
    """Detects faces and tells how far apart two of them are.

    Attributes:
        name: for answers and logs.
        same_person: distance below which two faces are taken for one person.
    """

    name: str
    same_person: float

    def detect(self, image: Image) -> list[Face]:
        """All faces of the picture, from left to right; FaceError when the detector fails."""

    def embed(self, image: Image, face: Face) -> Embedding:
        """The vector that stands for this face; FaceError when there is none."""

    def distance(self, a: Embedding, b: Embedding) -> float:
        """How far apart two faces are; below `same_person` they are one person."""


@runtime_checkable
class BatchEngine(FaceEngine, Protocol):
    """An engine whose recognizer is faster on several faces at once than on one after the other."""

    def chip(self, image: Image, face: Face) -> Chip:
        """What the recognizer sees of this face; FaceError when it cannot be aligned."""

    def embed_all(self, chips: Sequence[Chip]) -> list[Embedding | FaceError]:
        """The vector of each chip, or why there is none, in their order."""


def similarity(engine: FaceEngine, distance: float) -> float:
    """A distance as a likeness in [0, 1]: 1 is the same face, 0.5 the engine's same-person threshold."""
    return float(np.clip(1 - distance / (2 * engine.same_person), 0, 1))


def largest(faces: list[Face]) -> Face:
    """The face that takes most of the picture; ValueError on an empty list."""
    return max(faces, key=lambda face: face.box.area)
