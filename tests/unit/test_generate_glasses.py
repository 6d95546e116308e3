"""Glasses of a template stay on the face that comes under them."""

import numpy as np
import pytest

from functions.generate import glasses, light
from functions.generate.fusion import Portrayal, fuse, worn_frames
from shared.faces.dlib import DlibEngine
from tests import pictures


@pytest.fixture(scope="module")
def engine():
    return DlibEngine()


@pytest.fixture(scope="module")
def portrayals(engine):
    images = {"hopper": pictures.hopper(), "astronaut": pictures.astronaut()}
    return {
        name: Portrayal(image, max(engine.detect(image), key=lambda face: face.score).landmarks)
        for name, image in images.items()
    }


def test_glasses_are_told_from_bare_eyes(portrayals):
    worn = {name: glasses.worn(light.to_lab(one.image), one.landmarks) for name, one in portrayals.items()}
    assert worn == {"hopper": True, "astronaut": False}


def test_a_bare_face_has_no_frames(portrayals):
    one = portrayals["astronaut"]
    assert not worn_frames(one.image, one.landmarks).any()


def test_frames_lie_around_the_eyes_and_not_on_them(portrayals):
    one = portrayals["hopper"]
    frames = worn_frames(one.image, one.landmarks)
    rows, columns = np.nonzero(frames > 0.5)
    assert one.landmarks[19, 1] - 15 < rows.min()
    assert rows.max() < one.landmarks[33, 1]
    assert columns.min() < one.landmarks[36, 0] < one.landmarks[45, 0] < columns.max()
    for eye in (one.landmarks[36:42], one.landmarks[42:48]):
        x, y = eye.mean(axis=0).round().astype(int)
        assert frames[y, x] < 0.1


def test_frames_survive_two_full_fusions(portrayals):
    template, person = portrayals["hopper"], portrayals["astronaut"]
    fused = fuse(template.image, template.landmarks, person, 1.0)
    fused = fuse(fused.image, fused.landmarks, person, 1.0, frames=fused.frames)
    assert glasses.worn(light.to_lab(fused.image), fused.landmarks)
    bare = fuse(template.image, template.landmarks, person, 1.0, frames=np.zeros(template.image.shape[:2], np.float32))
    assert not glasses.worn(light.to_lab(bare.image), bare.landmarks)
