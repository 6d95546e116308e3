"""Templates are looked at once: the same picture has the same faces."""

import numpy as np
import pytest

from functions.generate.face_cache import CachedFaceEngine
from shared.faces import Box, Face, FaceError
from shared.models.expiring_cache import SECONDS
from tests.clock import Clock

FACE = Face(Box(1, 2, 30, 40), np.arange(136.0).reshape(68, 2), 1.0)


class Eyes:
    """An engine that counts its looks; a black picture makes it fail."""

    name, same_person = "eyes", 0.5

    def __init__(self):
        self.detections = self.embeddings = 0

    def detect(self, image):
        self.detections += 1
        if not image.any():
            raise FaceError("nothing to see")
        return [FACE]

    def embed(self, image, face):
        self.embeddings += 1
        return np.array([float(image.sum()), float(face.landmarks.sum())])

    def distance(self, a, b):
        return float(np.linalg.norm(a - b))


@pytest.fixture
def eyes():
    return Eyes()


def picture(level, size=(4, 6, 3)):
    return np.full(size, level, np.uint8)


class TestMemoryOfFaces:
    def test_a_picture_is_looked_at_once(self, eyes):
        cached = CachedFaceEngine(eyes)
        seen = [cached.detect(picture(7)) for _ in range(3)]
        vectors = [cached.embed(picture(7), FACE) for _ in range(3)]
        assert (eyes.detections, eyes.embeddings) == (1, 1)
        assert all(faces == [FACE] for faces in seen)
        assert np.array_equal(vectors[0], vectors[2])

    def test_another_level_size_or_face_is_another_picture(self, eyes):
        cached = CachedFaceEngine(eyes)
        for other in (picture(7), picture(8), picture(7, (6, 4, 3))):
            cached.detect(other)
            cached.embed(other, FACE)
        cached.embed(picture(7), Face(FACE.box, FACE.landmarks + 1, 1.0))
        assert (eyes.detections, eyes.embeddings) == (3, 4)

    def test_what_failed_is_tried_again(self, eyes):
        cached = CachedFaceEngine(eyes)
        for _ in range(2):
            with pytest.raises(FaceError):
                cached.detect(picture(0))
        assert eyes.detections == 2

    def test_the_picture_not_seen_for_longest_is_forgotten(self, eyes):
        cached = CachedFaceEngine(eyes, most=2)
        for level in (1, 2, 1, 3, 1, 2):
            cached.detect(picture(level))
        assert eyes.detections == 4

    def test_what_is_done_to_an_answer_does_no_harm_to_the_next(self, eyes):
        cached = CachedFaceEngine(eyes)
        cached.detect(picture(7)).clear()
        cached.embed(picture(7), FACE)[:] = 0
        assert cached.detect(picture(7)) == [FACE]
        assert cached.embed(picture(7), FACE)[0] > 0

    def test_neither_faces_nor_vectors_are_kept_for_more_than_ten_minutes_without_use(self, eyes):
        clock = Clock()
        cached = CachedFaceEngine(eyes, clock=clock)
        cached.detect(picture(7))
        cached.embed(picture(7), FACE)
        clock.now += SECONDS
        assert SECONDS == 600
        cached.expire()
        assert not list(cached._faces)
        assert not list(cached._vectors)
