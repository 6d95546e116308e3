"""What fuses faces by the settings: the landmark warp, or a network of inswapper's signature."""

import numpy as np
import pytest

from functions.generate.fusion import fuser
from functions.generate.fusion.fuser import LandmarkFuser
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.photo_choice import mirror_image
from shared.faces.base import EngineUnavailable, largest
from shared.settings import FaceSettings, GenerateSettings, Settings
from tests import fake_swapper, pictures

FIRST, SECOND = np.eye(512)[:2]  # the toy's emap turns the second into its first number, and the first into its last


def settings(path, engine="insightface"):
    return Settings(faces=FaceSettings(engine=engine, provider="cpu"), generate=GenerateSettings(fuser=path))


@pytest.fixture(scope="module")
def template(engine):
    image = pictures.astronaut()
    return ReferencePhoto(image, largest(engine.detect(image)).landmarks)


@pytest.fixture(scope="module")
def neural(tmp_path_factory):
    return fuser.load_fuser(settings(fake_swapper.write(tmp_path_factory.mktemp("fuser") / "toy.onnx")))


def person(identity):
    return ReferencePhoto(np.zeros((8, 8, 3), np.uint8), np.zeros((68, 2)), identity)


def brightness(image, template):
    x, y = template.landmarks[27:36].mean(axis=0).round().astype(int)
    return float(image[y - 10 : y + 10, x - 10 : x + 10].mean())


def test_without_the_setting_faces_are_fused_by_landmarks():
    assert isinstance(fuser.load_fuser(Settings()), LandmarkFuser)


def test_a_network_with_the_dlib_engine_is_a_mistake_that_says_what_to_set(tmp_path):
    path = fake_swapper.write(tmp_path / "toy.onnx")
    with pytest.raises(EngineUnavailable, match="PHOTOG_FACES__ENGINE=insightface"):
        fuser.load_fuser(settings(path, engine="dlib"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EngineUnavailable, match=r"nowhere\.onnx"):
        fuser.load_fuser(settings(tmp_path / "nowhere.onnx"))


def test_a_network_of_another_signature_is_refused(tmp_path):
    with pytest.raises(EngineUnavailable, match="256"):
        fuser.load_fuser(settings(fake_swapper.write(tmp_path / "toy.onnx", side=256)))


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no network at all")
    with pytest.raises(EngineUnavailable, match="not an ONNX model"):
        fuser.load_fuser(settings(tmp_path / "text.onnx"))


def test_the_network_paints_the_person_that_the_vector_names(neural, template):
    white = neural.fuse(template.image, template.landmarks, person(SECOND * 7), 1.0).image
    dark = neural.fuse(template.image, template.landmarks, person(FIRST), 1.0).image
    assert brightness(dark, template) < 0.7 * brightness(template.image, template)
    assert brightness(white, template) > 1.1 * brightness(template.image, template)


def test_degree_0_is_the_template_and_every_degree_takes_more(neural, template):
    made = [neural.fuse(template.image, template.landmarks, person(FIRST), d).image for d in (0, 0.25, 0.5, 0.75, 1)]
    levels = [brightness(image, template) for image in made]
    assert np.array_equal(made[0], template.image)
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < levels[-2]


def test_nothing_but_the_face_is_touched_and_no_neighbor(neural, template):
    free = np.ones(template.image.shape[:2], np.float32)
    middle = round(float(template.landmarks[30, 0]))
    free[:, middle:] = 0
    fused = neural.fuse(template.image, template.landmarks, person(FIRST), 1.0, free)
    changed = np.any(fused.image != template.image, axis=-1)
    assert changed[:, :middle].any()
    assert not changed[:, middle:].any()
    top, bottom = template.landmarks[:, 1].min(), template.landmarks[:, 1].max()
    assert not changed[: int(top) - 60].any()
    assert not changed[int(bottom) + 20 :].any()
    assert np.array_equal(fused.landmarks, template.landmarks)


def test_a_mirrored_photo_is_of_the_same_person(template):
    known = ReferencePhoto(template.image, template.landmarks, FIRST)
    assert mirror_image(known).identity is FIRST
