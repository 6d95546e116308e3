"""Deferred embedding: faces are collected while photos are inspected, then embedded in one batch."""

import numpy as np

from shared.faces.base import BatchEngine, Chip, Face, FaceError
from shared.imaging.array_types import Embedding, Image


class BatchedEmbedding:
    """A face engine that collects faces for another engine, which embeds them in one batch. It keeps chips, no photos.

    `embed` returns a placeholder, the face's index in the batch; `embed_collected` turns placeholders into embeddings.
    """

    def __init__(self, engine: BatchEngine) -> None:
        self.name, self.same_person = engine.name, engine.same_person
        self._engine = engine
        self._chips: list[Chip] = []

    def detect(self, image: Image) -> list[Face]:
        """Detect faces with the wrapped engine."""
        return self._engine.detect(image)

    def embed(self, image: Image, face: Face) -> Embedding:
        """Collect the face, and return its placeholder, (1,)."""
        self._chips.append(self._engine.chip(image, face))
        return np.array([float(len(self._chips) - 1)])

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Return the wrapped engine's distance between two embeddings, which must not be placeholders."""
        return self._engine.distance(a, b)

    def embed_collected(self, placeholders: list[Embedding]) -> list[Embedding | FaceError]:
        """Embed all collected faces; return the embedding for each placeholder, or why there is none."""
        vectors = self._engine.embed_all(self._chips)
        return [vectors[int(placeholder[0])] for placeholder in placeholders]
