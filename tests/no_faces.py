"""A face engine that finds no face in any picture."""

from shared.faces.base import Face
from shared.imaging.array_types import Embedding, Image


class NoFaces:
    """Implements `shared.faces.base.FaceEngine`."""

    name, same_person = "blind", 0.5

    def detect(self, image: Image) -> list[Face]:
        return []

    def embed(self, image: Image, face: Face) -> Embedding:
        raise AssertionError("a face where none was found")

    def distance(self, one: Embedding, other: Embedding) -> float:
        raise AssertionError("a face where none was found")
