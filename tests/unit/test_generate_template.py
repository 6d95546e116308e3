"""Which faces of a template are portrayed: those that check would find, and what is said where there is none."""

import numpy as np
import pytest

from functions.generate import template
from functions.generate.request import FaceAssignment
from shared.errors import NoFaceInTemplate
from shared.faces import Box, Face
from tests import pictures


class Scored:
    """An engine that finds a face for each of its scores."""

    def __init__(self, *scores):
        self._scores = scores

    def detect(self, image):
        return [Face(Box(0, 0, 9, 9), np.zeros((68, 2)), score) for score in self._scores]


@pytest.mark.parametrize("scores", [(-0.4,), (0.0,), (-0.1, 2.3), (1.5, 0.05), (-0.3, -0.2)])
def test_every_face_that_the_engine_finds_is_one_whatever_its_score(scores):
    found = template.find_faces(pictures.coffee(), "a.jpg", Scored(*scores))
    assert [face.score for face in found.faces] == list(scores)


def test_a_face_that_the_edge_cuts_off_is_told_with_its_share_unless_nobody_takes_it():
    points = np.full((68, 2), 50.0)
    points[17:43, 0] = -3
    face = Face(Box(-10, 0, 60, 100), points, 1.0)
    (told,) = template.warn_of_cut_faces([face], [FaceAssignment("ann")], (100, 100, 3))
    assert told.startswith("template_image: the face is cut off by the picture's edge, with 51% of its features")
    assert template.warn_of_cut_faces([face], [FaceAssignment("none")], (100, 100, 3)) == []
    assert template.warn_of_cut_faces([Face(face.box, np.abs(points), 1.0)], [FaceAssignment("ann")], (100, 100)) == []


def test_a_template_without_anybody_asks_for_another_picture(engine):
    with pytest.raises(NoFaceInTemplate, match=r"a\.jpg shows no face; choose another picture"):
        template.find_faces(pictures.coffee()[:200, :200], "a.jpg", engine)
