"""Embedding later: faces are collected while photos are looked at, then embedded in one run."""

import numpy as np

from shared.faces.base import BatchEngine, Chip, Face, FaceError
from shared.imaging.array_types import Embedding, Image


class BatchedEmbedding:
    """A face engine over one that embeds several faces at once. Keeps a chip of each face, no photo.

    `embed` answers a place in the queue, one number; `embed_collected` turns places into vectors.
    """

    def __init__(self, engine: BatchEngine) -> None:
        self.name, self.same_person = engine.name, engine.same_person
        self._engine = engine
        self._chips: list[Chip] = []

    def detect(self, image: Image) -> list[Face]:
        """As the engine."""
        return self._engine.detect(image)

    def embed(self, image: Image, face: Face) -> Embedding:
        """Collect the face; its place in the queue."""
        self._chips.append(self._engine.chip(image, face))
        return np.array([float(len(self._chips) - 1)])

    def distance(self, a: Embedding, b: Embedding) -> float:
        """As the engine, between vectors and not places."""
        return self._engine.distance(a, b)

    def embed_collected(self, places: list[Embedding]) -> list[Embedding | FaceError]:
        """The vectors of these places, or why there is none."""
        vectors = self._engine.embed_all(self._chips)
        return [vectors[int(place[0])] for place in places]
