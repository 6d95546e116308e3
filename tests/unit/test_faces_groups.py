"""Heads cheek to cheek: each face is found once, whoever stands beside or before it, and what stays unsure is told."""

import numpy as np
import pytest

from shared.faces import Box, Face
from shared.faces.base import search_faces
from shared.faces.loading import load_engine
from shared.settings import FaceSettings
from tests import hiding, pictures
from tests.heads import make_group

CHEEK_TO_CHEEK = (0.85, 0.95)  # mean face widths between the middles of two faces


@pytest.fixture(scope="module")
def engine():
    return load_engine(FaceSettings(engine="mesh", provider="cpu", intra_threads=1))


@pytest.fixture(scope="module")
def people(engine):
    """Pictures and faces that look ahead: Collins, Hopper, and five of the six in a row."""
    shown = [(image, face) for image in (pictures.astronaut(), pictures.hopper()) for face in engine.detect(image)]
    row = [(pictures.group(), face) for face in engine.detect(pictures.group())]
    return shown + row[:4] + row[5:]


@pytest.mark.parametrize("seed", [3, 26, 35, 56])
def test_no_face_is_lost_to_the_one_beside_it(engine, people, seed):
    """The closer look at one face showed its neighbor's, surer, so that one was found twice and the other never."""
    group = make_group(people, CHEEK_TO_CHEEK, np.random.default_rng(seed))
    found = engine.detect(group.image)
    assert len(found) == len(group.widths)
    for face, middle, width in zip(found, group.middles, group.widths, strict=True):
        assert np.linalg.norm(face.box.center - middle) < 0.3 * width
        assert face.box.width == pytest.approx(width, rel=0.3)


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    height = min(left.shape[0], right.shape[0])
    return np.ascontiguousarray(np.hstack([left[:height], right[:height]]))


def test_a_hidden_face_is_found_beside_one_that_is_not(engine, people):
    """The second search ran only where the first had found nobody."""
    image, face = people[1]
    hidden = hiding.hide(image, face, "large cup", "red")
    assert len(engine.detect(side_by_side(pictures.astronaut(), hidden))) == 2


def test_what_may_be_a_face_is_told_and_what_is_one_is_not(engine, people):
    """Hopper behind a cloth: the detector is sure of her, the mesh is not."""
    image, face = people[1]
    beside = pictures.astronaut()
    clear = search_faces(engine, side_by_side(beside, image))
    assert (len(clear.faces), clear.doubtful) == (2, [])
    unsure = search_faces(engine, side_by_side(beside, hiding.hide(image, face, "cloth", "blue")))
    assert len(unsure.faces) == 1
    (box,) = unsure.doubtful
    assert np.linalg.norm(np.subtract(box.center, face.box.center) - [beside.shape[1], 0]) < 0.3 * face.box.width


def test_an_engine_that_tells_no_doubts_has_none():
    class Sure:
        def detect(self, image):
            return [Face(Box(0, 0, 9, 9), np.zeros((68, 2)), 1.0)]

    found = search_faces(Sure(), pictures.coffee())
    assert (len(found.faces), found.doubtful) == (1, [])
