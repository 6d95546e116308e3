"""Face fusion over the face mesh: the photo's points laid on the template's head, flat or turned in space."""

import numpy as np
import pytest

from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.landmarks import face_width, fit_similarity, hairline
from functions.generate.fusion.correspondence import correspond, pose_agreement, turn_into_pose
from functions.generate.fusion.forehead import clear_forehead
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
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
