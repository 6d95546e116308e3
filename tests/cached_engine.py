"""The embedded face engine for tests of what comes after it: it looks at each picture once in a test session."""

from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import Any

from shared.faces.base import Face
from shared.faces.loading import load_engine
from shared.imaging.array_types import Embedding, Image
from shared.settings import FaceSettings


class CachedEngine:
    """The default engine with a memory. What it found is given to many, so its arrays are read-only."""

    def __init__(self) -> None:
        self._engine = load_engine(FaceSettings(provider="cpu", intra_threads=1))
        self._known: dict[Hashable, Any] = {}
        self.name, self.same_person = self._engine.name, self._engine.same_person
        self.distance = self._engine.distance

    def detect(self, image: Image) -> list[Face]:
        return list(self._once(_picture(image), lambda: self._detect(image)))

    def embed(self, image: Image, face: Face) -> Embedding:
        which = (*_picture(image), face.box, face.landmarks.tobytes())
        return self._once(which, lambda: _freeze(self._engine.embed(image, face)))

    def _detect(self, image: Image) -> list[Face]:
        faces = self._engine.detect(image)
        for face in faces:
            _freeze(face.landmarks)
        return faces

    def _once(self, key: Hashable, answer: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = answer()
        return self._known[key]


def _picture(image: Image) -> tuple[Hashable, ...]:
    return image.shape, blake2b(image.tobytes()).digest()


def _freeze(array: Embedding) -> Embedding:
    array.flags.writeable = False
    return array
