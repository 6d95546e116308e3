"""The embedded face engine on real pictures: what is a face, which way up it is, where it is, and whose."""

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from functions.generate import person, template
from functions.generate.face.landmarks import mirror
from functions.generate.occlusion.network import OccluderNetwork
from functions.generate.portrayal_cache import PortrayalCache
from shared.errors import NoFaceInTemplate
from shared.faces import Box, Face, FaceError, mesh, onnx_sessions, pose
from shared.faces.dlib import DlibEngine
from shared.faces.face_crop import crop_face, crop_face_quickly
from shared.faces.loading import load_engine
from shared.faces.mesh_landmarks import landmarks
from shared.faces.rotation import measure_roll, turn_back, turn_upright
from shared.photos.assessment import inspect_photo, judge_photo
from shared.settings import FaceSettings, Limits
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.trained_users import make_trained_user

SETTINGS = FaceSettings(engine="mesh", provider="cpu", intra_threads=1)


@pytest.fixture(scope="module")
def engine():
    return load_engine(SETTINGS)


@pytest.fixture(scope="module")
def hopper(engine):
    (face,) = engine.detect(pictures.hopper())
    return face


def wall(picture: np.ndarray, face: Face, width: int, side: int) -> np.ndarray:
    """A gray wall with the picture on it, so that its face is this many pixels wide."""
    factor = width / face.box.width
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    made = np.full((side * 3 // 4, side, 3), 128, np.uint8)
    made[side // 3 : side // 3 + small.shape[0], side // 2 : side // 2 + small.shape[1]] = small
    return made


def rotate(image: np.ndarray, face: Face, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The face's surroundings turned clockwise, and where its landmarks are then."""
    view = crop_face(image, face.box, 150, 500)
    back = turn_upright(view.image, -degrees)
    return back, turn_back(view.inwards(face.landmarks), view.image, degrees)


def test_faces_are_found_from_left_to_right_and_where_nobody_is_none(engine):
    (face,) = engine.detect(pictures.astronaut())
    assert face.box.center == pytest.approx((221, 122), abs=12)
    found = engine.detect(pictures.group())
    assert [one.box.center[0] for one in found] == pytest.approx([120, 320, 520, 790, 940, 1170], abs=15)
    assert engine.detect(pictures.coffee()) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3), (40, 40)])
def test_pictures_of_any_size_can_be_searched(engine, size):
    assert engine.detect(np.zeros((*size, 3), np.uint8)) == []


@pytest.mark.parametrize("array", [np.zeros((64, 64, 2), np.uint8), np.zeros((64, 64), np.uint8)])
def test_what_is_no_rgb_picture_is_an_error_of_the_engine(engine, array):
    with pytest.raises(FaceError, match="no RGB picture"):
        engine.detect(array)


@pytest.mark.parametrize("picture", [pictures.astronaut, pictures.hopper])
def test_a_face_of_50_pixels_is_found_in_a_picture_of_2000(engine, picture):
    (near,) = engine.detect(picture())
    (face,) = engine.detect(wall(picture(), near, 50, 2000))
    assert face.box.width == pytest.approx(50, abs=5)


@pytest.mark.parametrize("margin", [1.0, 1.3])
def test_a_face_that_fills_the_photo_is_found(engine, hopper, margin):
    left, top, right, bottom = hopper.box.square(margin).rounded()
    (face,) = engine.detect(np.ascontiguousarray(pictures.hopper()[top:bottom, left:right]))
    assert face.landmarks.mean(axis=0) == pytest.approx(hopper.landmarks.mean(axis=0) - [left, top], abs=8)


@pytest.mark.parametrize("degrees", [-90, -60, -30, 30, 60, 90])
@pytest.mark.parametrize("picture", [pictures.astronaut, pictures.hopper])
def test_landmarks_turn_with_the_picture(engine, picture, degrees):
    (face,) = engine.detect(picture())
    image, expected = rotate(picture(), face, degrees)
    (found,) = engine.detect(image)
    eyes = np.linalg.norm(expected[42:48].mean(axis=0) - expected[36:42].mean(axis=0))
    assert np.linalg.norm(found.landmarks - expected, axis=1).mean() < 0.06 * eyes


def faces_turned(engine, degrees):
    shown = [(image, face) for image in (pictures.astronaut(), pictures.hopper()) for face in engine.detect(image)]
    shown += [(pictures.group(), face) for face in engine.detect(pictures.group())]
    return [rotate(image, face, degrees)[0] for image, face in shown]


@pytest.mark.parametrize("degrees", [135, 180, 225])
def test_a_face_the_wrong_way_up_is_never_taken_for_an_upright_one(engine, degrees):
    """The detector sees one with its eyes at the mouth, and the mesh confirms half of those."""
    for image in faces_turned(engine, degrees):
        for face in engine.detect(image):
            middle = np.linalg.norm(np.array(face.box.center) - 250) < 60
            assert not middle or abs(measure_roll(face.landmarks)) > 60


def test_a_portrait_that_is_all_face_and_upside_down_shows_none(engine):
    """The detector's box lies half beside such a face; looks from its middle saw one in no turn but the wrong one."""
    for image, tight in ((pictures.astronaut(), 150), (pictures.astronaut(), 200), (pictures.hopper(), 260)):
        (face,) = engine.detect(image)
        view = crop_face(image, face.box, 130, tight).image
        assert engine.detect(np.ascontiguousarray(cv2.rotate(view, cv2.ROTATE_180))) == []


def test_check_and_generate_say_how_to_turn_a_picture_that_is_upside_down(engine):
    image = np.ascontiguousarray(cv2.rotate(pictures.astronaut(), cv2.ROTATE_180))
    verdict = judge_photo(image, engine, [])
    advice = "there is one when the picture is turned upside down: save it upright"
    assert (verdict.code, verdict.warnings) == (3, [f"no face was found; {advice}"])
    with pytest.raises(NoFaceInTemplate, match=advice):
        template.find_faces(image, "a.jpg", engine)


@pytest.mark.parametrize(
    ("turn", "way"), [(cv2.ROTATE_90_CLOCKWISE, "counter-clockwise"), (cv2.ROTATE_90_COUNTERCLOCKWISE, "clockwise")]
)
def test_check_and_generate_say_how_to_turn_a_picture_on_its_side(engine, turn, way):
    image = np.ascontiguousarray(cv2.rotate(pictures.astronaut()[20:240, 110:330], turn))
    advice = f"the picture lies on its side: turn it {way} and save it upright"
    assert advice in judge_photo(image, engine, []).warnings
    assert template.warn_of_lying(template.find_faces(image, "a.jpg", engine).faces) == [f"template_image: {advice}"]
    assert template.warn_of_lying(engine.detect(pictures.astronaut())) == []


def test_a_face_carries_its_mesh(engine, hopper):
    assert hopper.mesh.shape == (478, 3)
    assert landmarks(hopper.mesh) == pytest.approx(hopper.landmarks)
    nose, ear = hopper.mesh[4], hopper.mesh[234]
    assert nose[2] < ear[2]  # nearer to the camera


def test_the_jaw_of_a_turned_head_is_the_outline_that_is_seen(engine):
    """The mesh's own points of the far side lie behind the cheek, up to a tenth of the face's width inside of it."""
    profile = engine.detect(pictures.group())[4]
    flat = profile.mesh[:468, :2]
    hull = cv2.convexHull(flat.astype(np.float32))
    mesh_side = [cv2.pointPolygonTest(hull, tuple(map(float, flat[one])), True) for one in (127, 234, 93, 132)]
    assert max(mesh_side) > 0.04 * profile.box.width
    inside = [cv2.pointPolygonTest(hull, tuple(map(float, point)), True) for point in profile.landmarks[:17]]
    assert max(inside) < 0.03 * profile.box.width


def test_landmarks_of_a_mirrored_mesh_are_mirrored(engine, hopper):
    image = np.ascontiguousarray(pictures.hopper()[:, ::-1])
    (face,) = engine.detect(image)
    expected = mirror(hopper.landmarks, image.shape[1])
    assert np.linalg.norm(face.landmarks - expected, axis=1).mean() < 0.02 * hopper.box.width


def test_irises_have_no_part_in_the_landmarks(hopper):
    astray = hopper.mesh.copy()
    astray[468:] += 1000
    assert landmarks(astray) == pytest.approx(hopper.landmarks)


def test_points_in_one_place_give_landmarks_there():
    assert landmarks(np.ones((478, 3))) == pytest.approx(np.ones((68, 2)))


def test_landmarks_in_one_place_have_no_vector(engine):
    with pytest.raises(FaceError, match="in one place"):
        engine.embed(pictures.hopper(), Face(Box(0, 0, 50, 50), np.ones((68, 2)), 1.0))


@pytest.mark.parametrize("box", [Box(100, 60, 420, 380), Box(-300, -200, 500, 600), Box(300, 300, 700, 700)])
def test_a_crop_face_quickly_knows_where_its_pixels_come_from(box):
    y, x = np.mgrid[:600, :512]
    view = crop_face_quickly(np.stack([x / 2, y / 3, 0 * x], axis=-1).round().astype(np.uint8), box, 30, 60)
    assert view.image.shape == (60, 60, 3)
    for column, row in np.random.default_rng(0).integers(0, 60, (200, 2)):
        ((x, y),) = view.outwards(np.array([[column, row]]) + 0.5)
        if 20 < x < 490 and 20 < y < 580:
            assert view.image[row, column, :2] == pytest.approx([x / 2, y / 3], abs=2)


def test_one_person_is_near_and_others_are_far(engine, hopper):
    own = engine.embed(pictures.hopper(), hopper)
    for variation in pictures.variations(pictures.hopper(), 3):
        (face,) = engine.detect(variation)
        assert engine.distance(own, engine.embed(variation, face)) < engine.same_person
    people = [own, *(engine.embed(pictures.group(), face) for face in engine.detect(pictures.group()))]
    assert min(engine.distance(a, b) for i, a in enumerate(people) for b in people[:i]) > engine.same_person


def test_a_vector_is_the_one_that_dlib_gives(engine):
    """On the same landmarks; on each engine's own it moves a little more, and much less than to another person."""
    old = DlibEngine()
    assert old.same_person == engine.same_person
    for picture in (pictures.hopper(), pictures.astronaut()):
        (face,), (before,) = engine.detect(picture), old.detect(picture)
        assert engine.distance(engine.embed(picture, before), old.embed(picture, before)) < 0.12
        assert engine.distance(engine.embed(picture, face), old.embed(picture, before)) < 0.2


def test_a_frontal_portrait_reads_as_frontal_and_a_profile_does_not(engine, hopper):
    looks = pose.measure_pose(hopper)
    assert max(abs(looks.yaw), abs(looks.pitch), abs(looks.roll)) < 10
    profile = engine.detect(pictures.group())[4]
    assert abs(pose.measure_pose(profile).yaw) > 45
    bare = Face(hopper.box, hopper.landmarks, hopper.score)
    assert pose.measure_pose(bare) == pose.estimate_pose(hopper.landmarks)


def test_a_photo_that_ends_where_the_cheek_does_is_usable_and_one_that_cuts_it_is_not(engine, hopper):
    image, left = pictures.hopper(), round(hopper.landmarks[:, 0].min())
    assert inspect_photo(pictures.png(np.ascontiguousarray(image[:, left:])), engine, Limits()).code == 1
    cut = left + round(0.15 * hopper.box.width)
    assert inspect_photo(pictures.png(np.ascontiguousarray(image[:, cut:])), engine, Limits()).code == 3


def test_the_weights_are_those_that_their_card_names():
    card = (mesh.WEIGHTS / "README.md").read_text()
    files = sorted(mesh.WEIGHTS.glob("*.onnx"))
    assert [path.name for path in files] == [
        "blazeface_full.onnx",
        "blazeface_short.onnx",
        "face_mesh_478.onnx",
        "face_vector.onnx",
    ]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_neither_dlib_nor_the_landmark_file_is_loaded():

    program = (
        "import sys; from shared.settings import FaceSettings; from shared.faces.loading import load_engine;"
        "load_engine(FaceSettings(engine='mesh', provider='cpu'));"
        "sys.exit('dlib' in sys.modules or 'face_recognition_models' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_a_user_who_was_trained_with_the_dlib_engine_is_portrayed_and_compared_as_before(engine):
    """Their landmarks stay those that were stored; their vectors are made anew, near to the stored ones."""
    photos = pictures.variations(pictures.hopper(), 3)
    objects = make_trained_user("u1", photos, DlibEngine(), b"", "portrait-tiny")
    occluders = OccluderNetwork(FaceSettings(provider="cpu"))
    who = person.load_person("u1", FakeWorkspace(objects), engine, Limits(), occluders, PortrayalCache())
    assert who.training is not None
    assert who.training.face_engine == "dlib"
    for portrayal, reference in zip(who.portrayals, who.training.references, strict=True):
        assert portrayal.landmarks == pytest.approx(np.array(reference.landmarks))
        (face,) = engine.detect(portrayal.image)
        own = engine.embed(portrayal.image, face)
        assert engine.distance(own, who.embedding) < engine.same_person / 2
        assert engine.distance(own, np.array(reference.embedding)) < engine.same_person / 2
    stranger = engine.embed(pictures.astronaut(), *engine.detect(pictures.astronaut()))
    assert engine.distance(stranger, who.embedding) > engine.same_person


def test_the_weights_are_part_of_what_is_installed():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    (pattern,) = project["tool"]["setuptools"]["package-data"]["shared.faces"]
    packed = {path.name for path in (root / "shared/faces").glob(pattern)}
    assert packed >= {path.name for path in mesh.WEIGHTS.iterdir()}
    core = " ".join(project["project"]["dependencies"])
    assert "onnxruntime" in core
    assert "dlib" not in core
    assert "face-recognition" not in core


def test_threads_without_work_sleep_so_that_workers_can_share_a_machine(monkeypatch):
    made = []
    kept = onnx_sessions.onnxruntime.SessionOptions

    def options():
        made.append(kept())
        return made[-1]

    monkeypatch.setattr(onnx_sessions.onnxruntime, "SessionOptions", options)
    onnx_sessions.open_session(mesh.WEIGHTS / "face_vector.onnx", FaceSettings(provider="cpu"))
    assert made[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"
