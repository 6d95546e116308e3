"""The insightface engine on toy networks of the right signatures, run by onnxruntime for real."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from shared.faces import Box, Face, FaceError, loading, pose
from shared.faces.base import BatchEngine, EngineUnavailable
from shared.faces.insightface import InsightfaceEngine
from shared.faces.loading import load_engine
from shared.faces.mesh import MeshEngine
from shared.faces.networks import load_networks
from shared.settings import FaceSettings
from tests.toy_onnx import face_shape, model_folder, recognizer

SIDE = 640  # of the pictures; the detector sees them as they are


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module")
def engine(folder):
    return load_engine(settings(folder))


def settings(folder, **more) -> FaceSettings:
    return FaceSettings(engine="insightface", model=str(folder), provider=more.pop("provider", "cpu"), **more)


def lit(*corners, side=SIDE, color=(255, 255, 255)):
    """Black, with a bright square of a twentieth at each corner given in steps of a twentieth."""
    image = np.zeros((side, side, 3), np.uint8)
    step = side // 20
    for column, row in corners:
        image[row * step : (row + 1) * step, column * step : (column + 1) * step] = color
    return image


def test_a_face_is_found_where_the_detector_sees_it(engine):
    (face,) = engine.detect(lit((10, 8)))
    assert (face.box.left, face.box.top) == pytest.approx((10 * 32 - 80, 8 * 32 - 80), abs=1)
    assert (face.box.width, face.box.height) == pytest.approx((160, 160), abs=1)
    assert face.score == pytest.approx(0.9, abs=0.01)


def test_nobody_is_found_in_the_dark(engine):
    assert engine.detect(lit()) == []
    assert engine.detect(np.zeros((1, 1, 3), np.uint8)) == []
    assert engine.detect(np.zeros((3, 5000, 3), np.uint8)) == []


def test_faces_come_from_left_to_right(engine):
    faces = engine.detect(lit((15, 4), (4, 15)))
    assert [round(face.box.center[0]) for face in faces] == [4 * 32, 15 * 32]


def test_a_large_picture_is_searched_small_and_measured_in_its_own_pixels(engine):
    (face,) = engine.detect(lit((10, 8), side=4 * SIDE))
    assert (face.box.left, face.box.width) == pytest.approx((4 * 240, 4 * 160), abs=4)


def test_the_68_landmarks_lie_where_the_network_puts_them(engine):
    """The network sees one and a half times the box; its answer is brought back to the picture."""
    (face,) = engine.detect(lit((10, 8), side=2 * SIDE))
    expected = np.array(face.box.center) + face_shape()[:, :2] * 0.75 * face.box.width
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks == pytest.approx(expected, abs=3)


def test_the_landmark_network_sees_a_tilted_face_upright(engine, monkeypatch):
    """The detector's own eyes say how far it is tilted; the network's answer is turned back."""
    plain = engine.detect(lit((10, 8)))[0]
    boxes, points = np.array([[320, 240, 480, 400, 0.9]]), np.array([[[380, 300], [420, 340], *[[0, 0]] * 3]], float)
    monkeypatch.setattr(engine._detector, "detect", lambda image: (boxes, points))
    (face,) = engine.detect(lit((10, 8)))
    assert pose.estimate_pose(face.landmarks).roll == pytest.approx(45, abs=0.1)
    assert pose.estimate_pose(plain.landmarks).roll == pytest.approx(0, abs=0.1)
    monkeypatch.setattr(engine._detector, "detect", lambda image: (boxes, None))
    assert pose.estimate_pose(engine.detect(lit((10, 8)))[0].landmarks).roll == pytest.approx(0, abs=0.1)


def test_an_embedding_tells_colors_apart_and_sizes_not(engine):
    def embed(image, scale=1):
        found = face_at(320 * scale, 320 * scale, 160 * scale)
        return engine.embed(image, found)

    red, green = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)
    red[:, :, 0], green[:, :, 1] = 250, 250
    twice = np.repeat(np.repeat(red, 2, axis=0), 2, axis=1)
    assert embed(red).shape == (512,)
    assert np.linalg.norm(embed(red)) == pytest.approx(1)
    assert engine.distance(embed(red), embed(twice, 2)) < 0.01
    assert engine.distance(embed(red), embed(green)) > engine.same_person


def face_at(x, y, width):
    box = Box(x - width / 2, y - width / 2, x + width / 2, y + width / 2)
    return Face(box, np.array([x, y]) + face_shape()[:, :2] * 0.75 * width, 1.0)


def test_the_recognizer_sees_the_face_upright_and_red_before_blue(engine):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[:320, :, 0], image[320:, :, 2] = 200, 200
    chip = engine.chip(image, face_at(320, 320, 200))
    assert chip.shape == (112, 112, 3)
    assert chip[10].mean(axis=0) == pytest.approx((200, 0, 0), abs=1)
    assert chip[-10].mean(axis=0) == pytest.approx((0, 0, 200), abs=1)
    turned = np.ascontiguousarray(np.rot90(image))
    x, y = face_at(320, 320, 200).landmarks.T
    tilted = Face(Box(220, 220, 420, 420), np.stack([y, SIDE - x], axis=1), 1.0)
    assert np.abs(engine.chip(turned, tilted).astype(int) - chip).mean() < 3


def test_faces_embedded_together_equal_faces_embedded_alone(engine):
    generator = np.random.default_rng(3)
    images = [generator.integers(0, 255, (200, 200, 3), np.uint8) for _ in range(5)]
    faces = [face_at(100, 100, 90)] * 5
    together = engine.embed_all([engine.chip(image, face) for image, face in zip(images, faces, strict=True)])
    for vector, image, face in zip(together, images, faces, strict=True):
        assert vector == pytest.approx(engine.embed(image, face), abs=1e-6)
    assert isinstance(engine, BatchEngine)
    assert engine.embed_all([]) == []


def test_many_faces_are_one_run_of_the_network(engine, monkeypatch):
    runs = []
    real = engine._recognizer.get_feat
    monkeypatch.setattr(engine._recognizer, "get_feat", lambda chips: runs.append(len(chips)) or real(chips))
    engine.embed_all([np.full((112, 112, 3), 99, np.uint8)] * 7)
    assert runs == [7]


def test_a_network_of_batch_one_gets_one_face_after_the_other(tmp_path):
    engine = load_engine(settings(model_folder(tmp_path / "toy", batch=1)))
    chips = [np.full((112, 112, 3), level, np.uint8) for level in (10, 200)]
    assert len(engine.embed_all(chips)) == 2


def test_a_face_without_a_vector_costs_only_itself(engine, monkeypatch):
    monkeypatch.setattr(engine._recognizer, "get_feat", lambda chips: np.array([[1.0, 2], [0, 0], [np.nan, 1]]))
    vectors = engine.embed_all([np.zeros((112, 112, 3), np.uint8)] * 3)
    assert [isinstance(vector, FaceError) for vector in vectors] == [False, True, True]


def test_landmarks_in_one_place_are_no_face(engine):
    with pytest.raises(FaceError, match="one place"):
        engine.embed(lit(), Face(Box(0, 0, 10, 10), np.zeros((68, 2)), 1.0))


def test_only_three_networks_are_loaded_and_threads_are_set(folder):
    loaded = load_networks(settings(folder, intra_threads=2, inter_threads=1))
    names = [network.path.name for network in (loaded.detector, loaded.landmarks, loaded.recognizer)]
    assert names == ["det_toy.onnx", "3d68_toy.onnx", "rec_toy.onnx"]
    for network in (loaded.detector, loaded.landmarks, loaded.recognizer):
        options = network.session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_the_engine_says_which_folder_and_provider_it_uses(engine):
    assert engine.name == "insightface/toy"
    assert engine.provider == "CPUExecutionProvider"


def test_a_missing_folder_is_an_error_that_says_how_to_get_it():
    with pytest.raises(EngineUnavailable, match=r"(?s)no model folder .*buffalo_l\.zip.*non-commercial"):
        load_engine(FaceSettings(engine="insightface", model="nowhere"))


def test_a_folder_that_lacks_a_network_names_it(folder, tmp_path):
    onnx.save(recognizer(), tmp_path / "rec.onnx")
    with pytest.raises(EngineUnavailable, match="no detector and no landmarks"):
        load_engine(settings(tmp_path))


def test_a_broken_file_is_named(folder, tmp_path):
    broken = model_folder(tmp_path / "toy")
    (broken / "det_toy.onnx").write_bytes(b"<html>not found</html>")
    with pytest.raises(EngineUnavailable, match=r"det_toy\.onnx"):
        load_engine(settings(broken))


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA here")
def test_cuda_where_there_is_none_is_an_error_and_auto_is_the_cpu(folder):
    with pytest.raises(EngineUnavailable, match="pip install onnxruntime-gpu"):
        load_engine(settings(folder, provider="cuda"))
    assert load_engine(settings(folder, provider="auto")).provider == "CPUExecutionProvider"


def test_cuda_that_onnxruntime_cannot_load_is_an_error_and_never_the_cpu(folder, monkeypatch):
    """As on a machine with onnxruntime-gpu and no driver: onnxruntime itself would only warn and use the CPU."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.raises(EngineUnavailable, match="CUDA or cuDNN cannot be loaded"):
        load_engine(settings(folder, provider="cuda"))


def test_the_embedded_engine_imports_nothing_of_insightface():
    assert isinstance(load_engine(FaceSettings()), MeshEngine)
    code = (
        "import sys; from shared.faces.loading import load_engine; from shared.settings import FaceSettings; "
        "load_engine(FaceSettings()); sys.exit('insightface' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_packages_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(EngineUnavailable, match=r"needs onnxruntime: pip install '\.\[insightface\]'"):
        load_engine(FaceSettings(engine="insightface"))
    assert InsightfaceEngine.same_person == 0.55
