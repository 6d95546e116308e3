"""Face fusion over the face mesh: the photo's points laid on the template's head, flat or turned in space."""

import numpy as np
import pytest

from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.landmarks import face_width, fit_similarity, hairline
from functions.generate.fusion.correspondence import correspond, pose_agreement, turn_into_pose
from functions.generate.fusion.forehead import clear_forehead
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from functions.generate.fusion.warp import Projection
from functions.generate.photo_choice import mirror_image
from shared.faces.mesh_landmarks import landmarks as map_landmarks
from tests import pictures


def seen(engine, image):
    face = engine.detect(image)[-1]
    return ReferencePhoto(image, face.landmarks, mesh=face.mesh)


@pytest.fixture(scope="module")
def person(engine):
    return seen(engine, pictures.astronaut())


@pytest.fixture(scope="module")
def template(engine):
    return seen(engine, pictures.group())


def turned(mesh, degrees):
    """The mesh after the head was turned to the side."""
    angle, center = np.radians(degrees), mesh.mean(axis=0)
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return (mesh - center) @ rotation.T + center


def off(points, others):
    """Mean distance of points in the plane, in face widths."""
    return float(np.linalg.norm(points[:468, :2] - others[:468, :2], axis=1).mean() / face_width(map_landmarks(others)))


def test_a_head_turned_scaled_and_shifted_is_turned_back(person):
    elsewhere = 1.7 * turned(person.mesh, 40) + [30, -20, 5]
    assert off(turn_into_pose(elsewhere, person.mesh), person.mesh) < 1e-6


def test_a_photo_turned_elsewhere_keeps_the_templates_pose_and_the_persons_shape(person):
    """The landmarks alone would take hardly anything of the person's shape; flat, the mesh would turn the head."""
    away = turned(person.mesh, 50)
    photo = map_landmarks(away)
    assert pose_agreement(photo, person.landmarks) < 0.3
    long = person.mesh * [1, 1.15, 1]
    placed = correspond(map_landmarks(long), long, photo, away, 1.0).mesh
    flat = fit_similarity(photo, map_landmarks(long))(away[:, :2])
    wanted = turn_into_pose(person.mesh, long)
    assert off(placed, wanted) < 0.2 * off(flat, wanted)


def test_while_the_poses_agree_the_photos_shape_is_laid_on_as_it_is(person):
    nearly = turned(person.mesh, 5)
    photo = map_landmarks(nearly)
    assert pose_agreement(photo, person.landmarks) == 1
    pairs = correspond(person.landmarks, person.mesh, photo, nearly, 1.0)
    assert pairs.landmarks == pytest.approx(map_landmarks(pairs.mesh))
    assert off(pairs.mesh, nearly) < off(pairs.mesh, person.mesh)


def test_without_one_of_the_meshes_the_landmarks_are_paired(person, template):
    alone = correspond(template.landmarks, None, person.landmarks, None, 0.5)
    assert alone.mesh is None
    for meshes in ((template.mesh, None), (None, person.mesh)):
        pairs = correspond(template.landmarks, meshes[0], person.landmarks, meshes[1], 0.5)
        assert pairs.mesh is None
        assert np.array_equal(pairs.moved_to, alone.moved_to)
        assert np.array_equal(pairs.drawn, alone.drawn)


def test_the_mesh_brings_the_face_nearer_to_the_person_than_the_landmarks_do(engine, template, person):
    def distance(mesh):
        made = fuse(template.image, template.landmarks, person, 1.0, mesh=mesh)
        center = template.landmarks.mean(axis=0)
        faces = engine.detect(made.image)
        there = min(faces, key=lambda face: np.hypot(*(face.landmarks.mean(axis=0) - center)))
        themselves = engine.embed(person.image, engine.detect(person.image)[-1])
        return engine.distance(engine.embed(made.image, there), themselves)

    assert distance(template.mesh) < distance(None) - 0.01


def test_a_fused_face_has_the_mesh_that_it_was_given(template, person):
    fused = fuse(template.image, template.landmarks, person, 0.5, mesh=template.mesh)
    assert map_landmarks(fused.mesh) == pytest.approx(fused.landmarks)
    assert 0 < off(fused.mesh, template.mesh) < 0.1
    assert np.array_equal(fuse(template.image, template.landmarks, person, 0.0, mesh=template.mesh).mesh, template.mesh)
    assert fuse(template.image, template.landmarks, person, 0.5).mesh is None


def test_with_a_mesh_the_face_reaches_up_to_the_hairline(person):
    crop = FaceCrop.of(person.image, person.landmarks, mesh=person.mesh)
    without = FaceCrop.of(person.image, person.landmarks)
    top = hairline(crop.mesh)
    x, y = top.mean(axis=0).round().astype(int)
    y += round(0.08 * crop.width)
    assert crop.face[y, x] > without.face[y, x] + 0.2
    above = round(float(top[:, 1].min() - 0.1 * crop.width))
    assert crop.face[:above].max() < masks.LEAST
    assert np.array_equal(crop.face[round(crop.points[30, 1]) :], without.face[round(crop.points[30, 1]) :])


@pytest.mark.parametrize("lightness", [40, 85])
def test_the_forehead_ends_below_a_strand_of_hair_and_goes_on_beside_it(person, lightness):
    """A wrinkle lies level, and does not end it."""
    points, width = person.landmarks, face_width(person.landmarks)
    skin = np.full(person.image.shape[:2], 65, np.float32)
    brow = points[17:27, 1].mean()
    x = round(float(points[19, 0]))
    end, top = round(float(brow - 0.15 * width)), round(float(brow - 0.35 * width))
    strand, wrinkle = skin.copy(), skin.copy()
    strand[top:end, x : x + 2] = lightness
    wrinkle[end : end + 2, round(float(points[18, 0])) : round(float(points[25, 0]))] = lightness
    assert clear_forehead(points, wrinkle)[end, x] == 1
    clear = clear_forehead(points, strand)
    assert clear[end - 3, x] < 0.1
    assert clear[round(float(brow)), x] == 1
    assert clear[end - 3, round(float(points[24, 0]))] == 1


def test_a_mirrored_photo_has_no_mesh_until_it_is_looked_at(person):
    assert mirror_image(person).mesh is None


def test_a_frown_and_a_mole_end_no_forehead(person):
    """A wedge of the template's forehead was left above each of them."""
    points, width = person.landmarks, face_width(person.landmarks)
    lightness = np.full(person.image.shape[:2], 65, np.float32)
    brow, middle = points[17:27, 1].mean(), round(float(points[27, 0]))
    frown = slice(round(float(brow - 0.12 * width)), round(float(brow - 0.05 * width)))
    mole = round(float(brow - 0.2 * width))
    lightness[frown, middle : middle + 2] = 40
    lightness[mole : mole + 2, middle + 20 : middle + 22] = 40
    assert clear_forehead(points, lightness)[mole - 5 :, middle - 30 : middle + 30].min() == 1


def test_short_pieces_beside_a_strand_are_hair(person):
    points, width = person.landmarks, face_width(person.landmarks)
    lightness = np.full(person.image.shape[:2], 65, np.float32)
    brow, x = points[17:27, 1].mean(), round(float(points[27, 0]))
    end, top = round(float(brow - 0.25 * width)), round(float(brow - 0.35 * width))
    tip = round(float(brow - 0.12 * width))
    lightness[top:end, x : x + 2] = 40
    lightness[tip : tip + 2, x + 4 : x + 6] = 40
    assert clear_forehead(points, lightness)[tip - 3, x + 5] < 0.2


def test_a_speck_far_below_the_hairline_cuts_no_notch_into_the_forehead(person):
    points, width = person.landmarks, face_width(person.landmarks)
    lightness = np.full(person.image.shape[:2], 65, np.float32)
    brow, x = points[17:27, 1].mean(), round(float(points[27, 0]))
    end, top = round(float(brow - 0.37 * width)), round(float(brow - 0.43 * width))
    speck = round(float(brow - 0.15 * width))
    lightness[top:end, x : x + 2] = 40
    lightness[speck : speck + 2, x + 4 : x + 6] = 40
    clear = clear_forehead(points, lightness)
    assert clear[end, x] < 0.1
    assert clear[speck - 3, x + 5] == 1


def turned_away(points):
    """Where a photo that is turned away shows these points of a canvas: the left quarter is folded behind the face."""
    across = (points[:, 0] - points[:, 0].min()) / np.ptp(points[:, 0])
    shown = points.copy()
    shown[:, 0] += np.ptp(points[:, 0]) * np.where(across < 0.25, 2 * (0.25 - across), 0)
    return shown


def test_what_a_turned_head_hides_is_not_shown(person):
    points = person.mesh[:, :2]
    size = person.image.shape[:2]
    straight = Projection.of(points, points, size, size, face_width(person.landmarks)).measure_shown(size)
    hidden = Projection.of(turned_away(points), points, size, size, face_width(person.landmarks)).measure_shown(size)
    left, right = points[points[:, 0].argmin()], points[points[:, 0].argmax()]
    inwards = 0.08 * (right - left)
    seen = [tuple(reversed(np.round(one).astype(int))) for one in (left + inwards, right - inwards)]
    assert straight.min() == 1
    assert hidden[seen[0]] == 0
    assert hidden[seen[1]] == 1


def test_beyond_the_face_a_turned_head_is_not_drawn_again(person):
    """The spline folds back on its hidden side, and went on from there: a second face hung beside the head."""
    points, width = person.mesh[:, :2], face_width(person.landmarks)
    size = person.image.shape[:2]
    projection = Projection.of(turned_away(points), points, size, size, width)
    far = projection.draw(np.tile(np.arange(size[1], dtype=np.float32), (size[0], 1)), size)
    row = round(float(points[:, 1].mean()))
    aside = round(float(points[:, 0].min() - 0.5 * width))
    assert far[row, aside] < points[:, 0].min()


def test_a_photo_turned_the_same_way_is_shown_as_a_whole(template, person):
    points = correspond(template.landmarks, template.mesh, person.landmarks, person.mesh, 0.8)
    crop = FaceCrop.of(template.image, points.landmarks, mesh=points.mesh)
    size = person.image.shape[:2]
    target = points.drawn_to - [crop.columns.start, crop.rows.start]
    shown = Projection.of(points.drawn, target, crop.size, size, crop.width).measure_shown(crop.size)
    lips = masks.lips(crop.points, crop.size)
    assert shown[(crop.face > 0.5) & (lips < 0.1)].mean() > 0.98
