"""The dlib engine on real pictures: what is a face, where it is, and whose."""

import cv2
import numpy as np
import pytest

from shared.faces import Box, Face, FaceError, photo_quality, pose
from shared.faces.dlib import DlibEngine
from shared.faces.face_crop import crop_face
from shared.faces.rotation import turn_back, turn_upright
from tests import pictures


@pytest.fixture(scope="module")
def engine():
    return DlibEngine()


@pytest.fixture(scope="module")
def hopper(engine):
    (face,) = engine.detect(pictures.hopper())
    return face


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width * 0.5, height * 0.4), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def on_a_wall(image: np.ndarray, width: int) -> np.ndarray:
    """The picture somewhere on a gray wall of this width."""
    wall = np.full((width * 3 // 4, width, 3), 128, np.uint8)
    wall[300 : 300 + image.shape[0], 300 : 300 + image.shape[1]] = image
    return wall


def test_the_astronaut_has_one_face_and_her_suit_none(engine):
    (face,) = engine.detect(pictures.astronaut())
    assert face.box.center == pytest.approx((221, 122), abs=12)


def test_six_people_are_found_from_left_to_right(engine):
    faces = engine.detect(pictures.group())
    assert [round(face.box.center[0], -1) for face in faces] == [120, 320, 520, 790, 930, 1170]


@pytest.mark.parametrize(
    "picture", [pictures.coffee(), np.zeros((1, 1, 3), np.uint8), np.zeros((3, 5000, 3), np.uint8)]
)
def test_where_nobody_is_no_face_is_found(engine, picture):
    assert engine.detect(picture) == []


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_a_small_face_in_a_large_photo_is_found(engine, hopper, share):
    (face,) = engine.detect(on_a_wall(pictures.hopper(), round(hopper.box.width / share)))
    assert face.box.center == pytest.approx(np.array(hopper.box.center) + 300, abs=15)


@pytest.mark.parametrize("margin", [1.0, 1.3])
def test_a_face_that_fills_the_photo_is_found(engine, hopper, margin):
    left, top, right, bottom = hopper.box.square(margin).rounded()
    (face,) = engine.detect(np.ascontiguousarray(pictures.hopper()[top:bottom, left:right]))
    assert face.landmarks.mean(axis=0) == pytest.approx(hopper.landmarks.mean(axis=0) - [left, top], abs=8)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_tilted_head_is_found(engine, degrees):
    (face,) = engine.detect(rotate(pictures.hopper(), degrees))
    assert pose.estimate_pose(face.landmarks).roll == pytest.approx(-degrees, abs=12)


@pytest.mark.parametrize("picture", [pictures.hopper, pictures.astronaut])
@pytest.mark.parametrize("degrees", [-60, -45, -40, 40, 45, 60])
def test_the_roll_of_a_strongly_tilted_head_is_read_right(engine, picture, degrees):
    """Landmarks of an upright search read -6 for -40, so that such a photo passed as frontal."""
    image = picture()
    (upright,) = engine.detect(image)
    matrix = cv2.getRotationMatrix2D(upright.box.center, degrees, 1)
    matrix[:, 2] += np.array([400, 400]) - upright.box.center
    (face,) = engine.detect(cv2.warpAffine(image, matrix, (800, 800), borderMode=cv2.BORDER_REPLICATE))
    expected = pose.estimate_pose(upright.landmarks).roll - degrees
    assert pose.estimate_pose(face.landmarks).roll == pytest.approx(expected, abs=3)
    moved = upright.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(face.landmarks - moved).mean() < 0.03 * upright.box.width


def test_a_tilt_that_the_detector_is_wrong_about_is_told_by_landmarks_that_come_to_rest(engine):
    """HOG likes this face best at 0 degrees; its landmarks were 0.39 of its width off."""
    second = engine.detect(pictures.group())[1]
    left, top, right, bottom = second.box.square(4).rounded()
    matrix = cv2.getRotationMatrix2D(second.box.center, 55, 1.0)
    whole = cv2.warpAffine(pictures.group(), matrix, pictures.group().shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    found = engine.detect(np.ascontiguousarray(whole[max(top, 0) : bottom, left:right]))
    moved = second.landmarks @ matrix[:, :2].T + matrix[:, 2] - [left, max(top, 0)]
    apart = min(np.linalg.norm(face.landmarks - moved, axis=1).mean() for face in found)
    assert apart < 0.03 * second.box.width


@pytest.mark.parametrize("quality", [80, 95])
@pytest.mark.parametrize("degrees", [-45])
def test_landmarks_of_a_face_in_profile_turn_with_the_picture_at_any_jpeg_quality(engine, degrees, quality):
    """The detector's box is a tenth of its width off there, and the landmarks were up to 0.4 eye distances off."""
    profile = engine.detect(pictures.group())[4]
    square = crop_face(pictures.group(), profile.box, 120, 480)
    data = np.frombuffer(pictures.jpeg(turn_upright(square.image, degrees), quality), np.uint8)
    turned = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    expected = square.inwards(profile.landmarks)
    eyes = np.linalg.norm(expected[42:48].mean(axis=0) - expected[36:42].mean(axis=0))
    backs = [turn_back(face.landmarks, turned, degrees) for face in engine.detect(turned)]
    assert min(np.linalg.norm(back - expected, axis=1).mean() for back in backs) < 0.05 * eyes


def test_landmarks_lie_where_eyes_nose_and_chin_are(hopper):
    left_eye, right_eye = hopper.landmarks[36:42].mean(axis=0), hopper.landmarks[42:48].mean(axis=0)
    nose, chin = hopper.landmarks[30], hopper.landmarks[8]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < chin[1]


def test_one_person_is_near_and_others_are_far(engine, hopper):
    own = engine.embed(pictures.hopper(), hopper)
    for variation in pictures.variations(pictures.hopper(), 3):
        (face,) = engine.detect(variation)
        assert engine.distance(own, engine.embed(variation, face)) < engine.same_person
    group = pictures.group()
    people = [engine.embed(group, face) for face in engine.detect(group)]
    assert min(engine.distance(own, other) for other in people) > engine.same_person
    apart = [engine.distance(a, b) for i, a in enumerate(people) for b in people[:i]]
    assert min(apart) > engine.same_person


def test_the_embedding_does_not_depend_on_the_size_of_the_photo(engine, hopper):
    own = engine.embed(pictures.hopper(), hopper)
    for factor in (0.5, 3.0):
        image = cv2.resize(pictures.hopper(), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        (face,) = engine.detect(image)
        assert engine.distance(own, engine.embed(image, face)) < 0.25


def test_a_picture_that_dlib_cannot_take_is_an_error_of_the_engine(engine):
    with pytest.raises(FaceError, match="dlib could not search"):
        engine.detect(np.zeros((64, 64, 2), np.uint8))


def test_pose_follows_mirror_and_tilt(engine):
    faces = engine.detect(pictures.group())
    assert len(faces) == 6
    for face in faces:
        looks = pose.estimate_pose(face.landmarks)
        flipped = face.landmarks * [-1, 1]
        order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
        order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
        order += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)]
        mirrored = pose.estimate_pose(flipped[order])
        assert (mirrored.yaw, mirrored.pitch, mirrored.roll) == pytest.approx(
            (-looks.yaw, looks.pitch, -looks.roll), abs=1.0
        )
        angle = np.radians(30)
        tilt = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        tilted = pose.estimate_pose(face.landmarks @ tilt)
        assert tilted.roll == pytest.approx(looks.roll + 30, abs=1.0)


def test_a_frontal_portrait_reads_as_frontal(hopper):
    looks = pose.estimate_pose(hopper.landmarks)
    assert max(abs(looks.yaw), abs(looks.pitch), abs(looks.roll)) < 10


def test_blur_lowers_sharpness_and_darkness_does_not(hopper):
    image = pictures.hopper()
    sharp = photo_quality.measure_sharpness(image, hopper)
    blurred = photo_quality.measure_sharpness(cv2.GaussianBlur(image, (0, 0), 4), hopper)
    dark = photo_quality.measure_sharpness((image * 0.5).astype(np.uint8), hopper)
    assert blurred < 0.02 < sharp
    assert dark == pytest.approx(sharp, rel=0.1)


def test_sharpness_does_not_reward_large_pictures(hopper):
    large = cv2.resize(pictures.hopper(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    face = Face(hopper.box.scaled(4), hopper.landmarks * 4, 1.0)
    assert photo_quality.measure_sharpness(large, face) == pytest.approx(
        photo_quality.measure_sharpness(pictures.hopper(), hopper), rel=0.2
    )


def test_light_is_measured_on_the_face(hopper):
    image = pictures.hopper()
    assert photo_quality.measure_brightness((image * 0.2).astype(np.uint8), hopper) < 0.2
    assert photo_quality.measure_clipping(image, hopper) < 0.02
    assert photo_quality.measure_clipping(np.clip(image * 3.0, 0, 255).astype(np.uint8), hopper) > 0.2


@pytest.mark.parametrize(
    "box", [Box(40, 30, 90, 80), Box(-30, -20, 20, 30), Box(180, 130, 240, 190), Box(900, 900, 950, 950)]
)
def test_a_closeup_finds_its_way_back(box):
    image = np.zeros((150, 200, 3), np.uint8)
    view = crop_face(image, box, 100, 200)
    assert view.image.shape == (200, 200, 3)
    points = np.array([[0.5, 0.5], [199, 149], [box.left, box.bottom]])
    assert view.outwards(view.inwards(points)) == pytest.approx(points)
    assert view.box_inwards(box).width == pytest.approx(100, rel=0.05)
    assert view.box_outwards(view.box_inwards(box)).left == pytest.approx(box.left)
