"""The embedded face engine on real faces of which something hides a half, and on what only looks like such a face."""

import cv2
import numpy as np
import pytest

from functions.generate import template
from shared.faces import Face
from shared.faces.face_crop import crop_face
from shared.faces.hidden_face import HiddenFaces
from shared.faces.loading import load_engine
from shared.faces.rotation import measure_roll
from shared.photos.assessment import judge_photo
from shared.settings import FaceSettings
from tests import hiding, pictures

SETTINGS = FaceSettings(engine="mesh", provider="cpu", intra_threads=1)
HIDDEN = [
    ("hopper", "cup", "red"),
    ("hopper", "large cup", "blue"),
    ("hopper", "cup on one side", "white"),
    ("hopper", "right half", "gray"),
    ("hopper", "left half", "gray"),
    ("hopper", "mask", "white"),
    ("hopper", "hand on the mouth", "skin"),
    ("astronaut", "large cup", "blue"),
    ("astronaut", "right half", "gray"),
    ("friend", "cup", "red"),
    ("friend", "right half", "blue"),
    ("friend", "cup on one side", "red"),
]
"""Each is lost without the second search."""


@pytest.fixture(scope="module")
def engine():
    return load_engine(SETTINGS)


@pytest.fixture(scope="module")
def people(engine):
    """Pictures of one person each, with the whole face that the engine finds in them."""
    group = pictures.group()
    friend = crop_face(group, engine.detect(group)[5].box, 150, 400).image
    shown = {"hopper": pictures.hopper(), "astronaut": pictures.astronaut(), "friend": friend}
    return {name: (image, *engine.detect(image)) for name, image in shown.items()}


def landmark_error(found: Face, true: Face) -> float:
    """The mean distance of the landmarks in eye distances, of those that are hidden too."""
    eyes = true.landmarks[36:42].mean(axis=0) - true.landmarks[42:48].mean(axis=0)
    return float(np.linalg.norm(found.landmarks - true.landmarks, axis=1).mean() / np.linalg.norm(eyes))


@pytest.mark.parametrize(("who", "thing", "stuff"), HIDDEN)
def test_a_face_behind_something_is_found_with_its_landmarks_in_place(engine, people, who, thing, stuff):
    image, face = people[who]
    (found,) = engine.detect(hiding.hide(image, face, thing, stuff))
    assert landmark_error(found, face) < 0.15


def test_check_takes_a_photo_with_a_cup_before_the_mouth_and_generate_a_template(engine, people):
    image, face = people["hopper"]
    hidden = hiding.hide(image, face, "cup", "red")
    assert judge_photo(hidden, engine, []).code == 1
    assert len(template.find_faces(hidden, "a.jpg", engine).faces) == 1


@pytest.mark.parametrize("gray", [False, True])
def test_a_face_larger_than_the_picture_is_found(engine, people, gray):
    image, face = people["hopper"]
    left, right = face.landmarks[:17, 0].min(), face.landmarks[:17, 0].max()
    inset = 0.15 * (right - left)
    x, y = round(left + inset), round(face.landmarks[17:27, 1].min())
    close = image[y : round(face.landmarks[8, 1] - inset / 3), x : round(right - inset)]
    if gray:
        close = np.repeat(cv2.cvtColor(close, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    (found,) = engine.detect(np.ascontiguousarray(close))
    moved = Face(found.box, found.landmarks + np.array([x, y]), found.score)
    assert landmark_error(moved, face) < 0.1


@pytest.mark.parametrize("degrees", [180, 135])
@pytest.mark.parametrize("thing", ["cup", "mask", "left half", "hat over the eyes"])
def test_a_hidden_face_the_wrong_way_up_is_never_taken_for_an_upright_one(engine, people, thing, degrees):
    """With the mouth hidden the mesh is sure of a face both ways; it settles sooner in the one that is right."""
    for image, face in people.values():
        hidden = crop_face(hiding.hide(image, face, thing, hiding.STUFFS[thing][0]), face.box, 150, 500).image
        height, width = hidden.shape[:2]
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        turned = cv2.warpAffine(hidden, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        assert all(abs(measure_roll(one.landmarks)) > 60 for one in engine.detect(turned))


@pytest.mark.parametrize("cover", ["skin", "wall"])
def test_a_face_that_is_covered_as_a_whole_is_none(engine, people, cover):
    for image, face in people.values():
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        (across, down), width = face.box.center, face.box.width
        covered = ((x - across) / (0.7 * width)) ** 2 + ((y - down) / (0.9 * width)) ** 2 < 1
        blank = image.copy()
        blank[covered] = np.median(image[covered], axis=0) if cover == "skin" else 128
        assert engine.detect(blank) == []


def test_walls_and_meadows_show_nobody(engine):
    for image in (pictures.coffee(), *(hiding.texture(name, 400) for name in hiding.TEXTURES)):
        assert engine.detect(image) == []


@pytest.fixture
def once(monkeypatch):
    """Makes the second search of a whole picture an error."""

    def search_again(*_arguments: object) -> None:
        raise AssertionError("a second search for a face that was found")

    monkeypatch.setattr(HiddenFaces, "find", search_again)


@pytest.mark.usefixtures("once")
def test_a_whole_face_that_is_upside_down_is_none_at_once(engine, people):
    """It was looked for thrice, which took longer than two upright photos."""
    for image, _ in people.values():
        assert engine.detect(np.ascontiguousarray(image[::-1, ::-1])) == []


@pytest.mark.usefixtures("once")
def test_a_picture_with_a_clear_face_is_searched_once(engine, people):
    for image, face in people.values():
        (found,) = engine.detect(image)
        assert found.landmarks == pytest.approx(face.landmarks)
