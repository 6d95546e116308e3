"""A cache of faces: the same templates are used again and again, with different people."""

import hashlib
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.faces import Face, FaceEngine
from shared.faces.base import FaceSearch, search_faces
from shared.imaging.array_types import Embedding, Image
from shared.models.expiring_cache import Clock, ExpiringCache

PICTURES = 256  # in the cache; each takes a digest and, per face, 14 kB for the mesh, the landmarks and the embedding

Value = TypeVar("Value")


class CachedFaceEngine:
    """A face engine that caches detected faces and embeddings. It keeps no pictures and no failures.

    A template may show anybody, and an embedding identifies a person: nothing is kept longer than `ExpiringCache`
    keeps its entries.

    Args:
        engine: the engine to ask for what is not in the cache.
        most: number of pictures, and number of embeddings, to keep.
        clock: replaced in tests.
    """

    def __init__(self, engine: FaceEngine, most: int = PICTURES, clock: Clock = time.monotonic) -> None:
        self.name, self.same_person = engine.name, engine.same_person
        self._engine = engine
        self._faces: ExpiringCache[bytes, FaceSearch] = ExpiringCache(most, clock=clock)
        self._vectors: ExpiringCache[bytes, Embedding] = ExpiringCache(most, clock=clock)

    def detect(self, image: Image) -> list[Face]:
        """Return the engine's faces of the picture; a picture is recognized by its pixels."""
        return list(self.search(image).faces)

    def search(self, image: Image) -> FaceSearch:
        """Return the engine's faces of the picture and its doubts."""
        return _get_or_compute(self._faces, digest(image), lambda: search_faces(self._engine, image))

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the engine's embedding of a face; a face is recognized by its picture, box and landmarks."""
        box = np.array([face.box.left, face.box.top, face.box.right, face.box.bottom])
        key = digest(image, box, face.landmarks)
        return _get_or_compute(self._vectors, key, lambda: self._engine.embed(image, face)).copy()

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Return the engine's distance between two embeddings."""
        return self._engine.distance(a, b)

    def expire(self) -> None:
        """Drop the entries that have not been used for a while."""
        self._faces.expire()
        self._vectors.expire()


def _get_or_compute(cache: ExpiringCache[bytes, Value], key: bytes, compute: Callable[[], Value]) -> Value:
    value: Value | None = cache.get(key)
    if value is None:
        value = cache[key] = compute()
    return value


def digest(*arrays: NDArray[np.generic]) -> bytes:
    """Return the SHA-256 of the arrays' types, shapes and values."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.digest()
