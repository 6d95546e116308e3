"""Faces of pictures that were seen before: the same templates come again and again, with ever new people."""

import hashlib
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.faces import Face, FaceEngine
from shared.imaging.array_types import Embedding, Image
from shared.models.expiring_cache import Clock, ExpiringCache

PICTURES = 256  # remembered; of each a digest, its faces and their vectors, 3 kB a face

Seen = TypeVar("Seen")


class CachedFaceEngine:
    """A face engine that knows again what it has looked at. It keeps no picture; what failed is tried again.

    A template may show anybody, and a face's vector tells who it is: neither is kept longer than `ExpiringCache` keeps.
    """

    def __init__(self, engine: FaceEngine, most: int = PICTURES, clock: Clock = time.monotonic) -> None:
        self.name, self.same_person = engine.name, engine.same_person
        self._engine = engine
        self._faces: ExpiringCache[bytes, list[Face]] = ExpiringCache(most, clock=clock)
        self._vectors: ExpiringCache[bytes, Embedding] = ExpiringCache(most, clock=clock)

    def detect(self, image: Image) -> list[Face]:
        """As the engine."""
        known = _known(self._faces, _digest(image), lambda: self._engine.detect(image))
        return list(known)

    def embed(self, image: Image, face: Face) -> Embedding:
        """As the engine; a face is known again by its picture, box and landmarks."""
        box = np.array([face.box.left, face.box.top, face.box.right, face.box.bottom])
        key = _digest(image, box, face.landmarks)
        return _known(self._vectors, key, lambda: self._engine.embed(image, face)).copy()

    def distance(self, a: Embedding, b: Embedding) -> float:
        """As the engine."""
        return self._engine.distance(a, b)

    def expire(self) -> None:
        """Forget the pictures that have not come for long."""
        self._faces.expire()
        self._vectors.expire()


def _known(memory: ExpiringCache[bytes, Seen], key: bytes, look: Callable[[], Seen]) -> Seen:
    seen: Seen | None = memory.get(key)
    if seen is None:
        seen = memory[key] = look()
    return seen


def _digest(*arrays: NDArray[np.generic]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
