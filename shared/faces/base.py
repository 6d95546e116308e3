"""Faces and the protocol of face engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from shared.errors import ConfigurationError, PhotogError
from shared.imaging.array_types import Embedding, Image, Points

Chip = Image
"""A face cropped and aligned for an engine's recognizer; it takes a few kilobytes and replaces the whole picture."""


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
        """Return the same rectangle in a picture that is `factor` times as large."""
        return Box(self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    def square(self, factor: float) -> "Box":
        """Return the square around the same center whose side is `factor` times the longer side."""
        half = max(self.width, self.height) * factor / 2
        x, y = self.center
        return Box(x - half, y - half, x + half, y + half)

    def rounded(self) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom as integers, as in answers."""
        return round(self.left), round(self.top), round(self.right), round(self.bottom)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a picture.

    Attributes:
        box: around the face, brows to chin.
        landmarks: the 68 points of the iBUG 300-W scheme, (68, 2), in pixels of the picture.
        score: the detector's confidence; its scale is the engine's own.
        mesh: the 478 points of MediaPipe's face mesh, (478, 3), if the engine has them. z is in pixels too and grows
            away from the camera. The last ten points are the irises', which are sometimes far off.
    """

    box: Box
    landmarks: Points
    score: float
    mesh: Points | None = None


@dataclass(frozen=True, eq=False)
class FaceSearch:
    """What a search found in a picture.

    Attributes:
        faces: from left to right.
        doubtful: where a face may be that was not confirmed: one in full profile, blurred, or half hidden.
    """

    faces: list[Face]
    doubtful: list[Box]


class FaceEngine(Protocol):
    """Detects faces, embeds them and measures the distance between embeddings.

    Attributes:
        name: for answers and logs.
        same_person: distance below which two faces count as one person.
    """

    name: str
    same_person: float

    def detect(self, image: Image) -> list[Face]:
        """Return all faces of the picture from left to right. Raises FaceError if the detector fails."""

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the embedding of a face. Raises FaceError if there is none."""

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Return the distance between two embeddings; below `same_person` they count as one person."""


@runtime_checkable
class DoubtingEngine(FaceEngine, Protocol):
    """A face engine that tells where it was not sure."""

    def search(self, image: Image) -> FaceSearch:
        """Return the faces as `detect` does, and where there may be others. Raises FaceError."""


@runtime_checkable
class BatchEngine(FaceEngine, Protocol):
    """A face engine whose recognizer is faster on several faces at once."""

    def chip(self, image: Image, face: Face) -> Chip:
        """Return the face as the recognizer gets it. Raises FaceError if it cannot be aligned."""

    def embed_all(self, chips: Sequence[Chip]) -> list[Embedding | FaceError]:
        """Return the embedding of each chip, in order, or why there is none."""


def similarity(engine: FaceEngine, distance: float) -> float:
    """Convert a distance to a likeness in [0, 1]: 1 is the same face, 0.5 the engine's same-person threshold."""
    return float(np.clip(1 - distance / (2 * engine.same_person), 0, 1))


def search_faces(engine: FaceEngine, image: Image) -> FaceSearch:
    """Return the faces of a picture and the engine's doubts, if it has any. Raises FaceError."""
    return engine.search(image) if isinstance(engine, DoubtingEngine) else FaceSearch(engine.detect(image), [])


def largest(faces: list[Face]) -> Face:
    """Return the face with the largest box. Raises ValueError if there is none."""
    return max(faces, key=lambda face: face.box.area)
