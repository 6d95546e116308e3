"""Faces of pictures that were seen before: the same templates come again and again, with ever new people."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.faces import Face, FaceEngine
from shared.images import Embedding, Image

PICTURES = 256  # remembered; of each a digest, its faces and their vectors, 3 kB a face

Seen = TypeVar("Seen")


class Acquainted:
    """A face engine that knows again what it has looked at. It keeps no picture; what failed is tried again."""

    def __init__(self, engine: FaceEngine, most: int = PICTURES) -> None:
        self.name, self.same_person = engine.name, engine.same_person
        self._engine, self._most = engine, most
        self._faces: OrderedDict[bytes, list[Face]] = OrderedDict()
        self._vectors: OrderedDict[bytes, Embedding] = OrderedDict()

    def detect(self, image: Image) -> list[Face]:
        """As the engine."""
        known = self._known(self._faces, _digest(image), lambda: self._engine.detect(image))
        return list(known)

    def embed(self, image: Image, face: Face) -> Embedding:
        """As the engine; a face is known again by its picture, box and landmarks."""
        box = np.array([face.box.left, face.box.top, face.box.right, face.box.bottom])
        key = _digest(image, box, face.landmarks)
        return self._known(self._vectors, key, lambda: self._engine.embed(image, face)).copy()

    def distance(self, a: Embedding, b: Embedding) -> float:
        """As the engine."""
        return self._engine.distance(a, b)

    def _known(self, memory: OrderedDict[bytes, Seen], key: bytes, look: Callable[[], Seen]) -> Seen:
        if key not in memory:
            memory[key] = look()
            while len(memory) > self._most:
                memory.popitem(last=False)
        memory.move_to_end(key)
        return memory[key]


def _digest(*arrays: NDArray[np.generic]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
