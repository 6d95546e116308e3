"""Facial hair: found on lip, chin and jaws, also beyond the outline, and changed to the person's by the fusion."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from functions.generate.face import facial_hair, light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.facial_hair import FacialHair
from functions.generate.face.landmarks import face_width
from functions.generate.fusion.beard_transfer import BeardTransfer, list_difficulties
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from shared.faces.base import largest
from tests import beards, pictures


def shown(engine, image):
    return ReferencePhoto(image, largest(engine.detect(image)).landmarks)


def bearded(photo, **looks):
    where = beards.full(photo.landmarks, photo.image.shape[:2], looks.pop("below", 0.15))
    return ReferencePhoto(beards.grow(photo.image, photo.landmarks, where, **looks), photo.landmarks)


def moustached(photo):
    where = beards.moustache(photo.landmarks, photo.image.shape[:2])
    return ReferencePhoto(beards.grow(photo.image, photo.landmarks, where), photo.landmarks)


@pytest.fixture(scope="module")
def woman(engine):
    return shown(engine, pictures.astronaut())


@pytest.fixture(scope="module")
def man(engine):
    """Another face, without glasses."""
    image = pictures.group()
    return ReferencePhoto(image, engine.detect(image)[3].landmarks)


def goatee(photo):
    """What of the chin's hair lies beyond the face, where a fusion of faces alone leaves it."""
    size = photo.image.shape[:2]
    return beards.full(photo.landmarks, size) & (masks.face(photo.landmarks, size, -0.02, 0.0) < 0.5)


@pytest.mark.parametrize(("surely", "told"), [(0.0, False), (0.3, False), (0.9, True)])
def test_a_dark_upper_lip_is_hidden_by_hair_only_where_there_surely_is_some(man, monkeypatch, surely, told):
    """A shaven lip in shade looks a little like a moustache; nobody is warned of hair that is not there."""
    found = facial_hair.UNSURE + np.array([surely, 1.0, 1.0]) * (facial_hair.SURE - facial_hair.UNSURE)
    monkeypatch.setattr(facial_hair, "judge_regions", lambda features, likeness, natural, points: found)
    photo = bearded(man)
    lips = masks.lips(photo.landmarks, photo.image.shape[:2])[..., None]
    image = np.where(lips > 0.5, np.uint8(30), photo.image)
    image[int(photo.landmarks[51:54, 1].max()) + 2 :] = photo.image[int(photo.landmarks[51:54, 1].max()) + 2 :]
    seen = FacialHair.of(light.to_lab(image), photo.landmarks)
    assert seen.over_lips is told


def lightness(image, where):
    return float(light.to_lab(image)[..., 0][where].mean())


def test_faces_without_facial_hair_have_none(engine, woman):
    faces = [woman] + [ReferencePhoto(pictures.group(), one.landmarks) for one in engine.detect(pictures.group())]
    assert len(faces) == 7
    for face in faces:
        assert not face.facial_hair.mask.any()


@pytest.mark.parametrize("color", [beards.DARK, beards.GRAY])
def test_a_beard_is_found_inside_the_outline_and_beyond_it(woman, man, color):
    for face in (woman, man):
        drawn = beards.full(face.landmarks, face.image.shape[:2])
        found = bearded(face, color=color).facial_hair
        assert min(found.moustache, found.chin, found.jaw) > 0.9
        assert (found.mask > 0.5)[drawn].mean() > 0.7
        assert (found.mask > 0.5).sum() < 1.25 * drawn.sum()
        assert (found.mask > 0.5)[goatee(face)].mean() > 0.7


def test_a_moustache_is_no_beard(woman, man):
    for face in (woman, man):
        found = moustached(face).facial_hair
        assert found.moustache > 0.9
        assert found.chin == found.jaw == 0
        mouth = face.landmarks[48:60, 1].mean()
        assert not (found.mask[round(mouth + 0.1 * face_width(face.landmarks)) :] > 0.1).any()


def test_what_lies_before_the_jaws_of_a_bare_chin_is_no_beard(woman, man):
    """A neighbor's gray hair on either side of the chin."""
    for face in (woman, man):
        width, chin = face_width(face.landmarks), face.landmarks[8]
        y, x = np.indices(face.image.shape[:2])
        aside = np.abs(x - chin[0]) / width
        before = (aside > 0.15) & (aside < 0.9) & (y > face.landmarks[33, 1]) & (y < chin[1] + 0.05 * width)
        hidden = ReferencePhoto(beards.grow(face.image, face.landmarks, before, beards.GRAY), face.landmarks)
        found = hidden.facial_hair
        assert found.chin == found.jaw == 0


def test_a_shirt_of_another_color_at_the_chin_is_no_beard(woman):
    shirt = woman.image.copy()
    shirt[beards.full(woman.landmarks, shirt.shape[:2])] = (20, 150, 170)
    assert not ReferencePhoto(shirt, woman.landmarks).facial_hair.mask.any()


def test_the_mask_is_the_same_in_every_run(woman):
    face = bearded(woman)
    cv2.setRNGSeed(1)
    first = FaceCrop.of(face.image, face.landmarks).facial_hair.mask
    cv2.setRNGSeed(2)
    cv2.randu(np.zeros(5), 0, 1)
    assert np.array_equal(first, FaceCrop.of(face.image, face.landmarks).facial_hair.mask)


def test_a_face_of_another_size_has_the_same_beard(woman):
    face = bearded(woman)
    large = cv2.resize(face.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found = ReferencePhoto(large, face.landmarks * 3 + 1).facial_hair.mask
    small = cv2.resize(found, face.image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small - face.facial_hair.mask).sum() < 0.15 * face.facial_hair.mask.sum()


@pytest.mark.parametrize("color", [beards.DARK, beards.GRAY])
def test_a_woman_in_a_bearded_mans_place_has_no_goatee(woman, man, color):
    template = bearded(man, color=color)
    made = fuse(template.image, template.landmarks, woman, 0.5)
    made = fuse(made.image, made.landmarks, woman, 0.5, frames=made.frames, hair=made.hair).image
    neck = goatee(man)
    rough = [
        float(np.abs(cv2.Laplacian(light.to_lab(image)[..., 0], cv2.CV_32F)[neck]).mean())
        for image in (template.image, made)
    ]
    assert rough[1] < 0.6 * rough[0]
    assert not FaceCrop.of(made, template.landmarks).facial_hair.chin


def test_a_persons_beard_comes_along_whole_and_by_degree(woman, man):
    person = bearded(man)
    chin = goatee(woman)
    dark = [
        lightness(fuse(woman.image, woman.landmarks, person, degree).image, chin) for degree in (0.0, 0.25, 0.5, 1.0)
    ]
    bare = lightness(fuse(woman.image, woman.landmarks, man, 1.0).image, chin)
    # grain moves it by a quarter, and the person's own light along the border by half
    assert all(later < earlier + 1 for earlier, later in pairwise(dark))
    assert dark[-1] < bare - 8


def test_a_beard_keeps_its_color_under_another_skin(woman, man):
    """The skin's shift of color is no light that falls on the hair; gray hair would turn orange."""
    person = bearded(man, color=beards.GRAY)
    made = fuse(woman.image, woman.landmarks, person, 1.0)
    where = (
        masks.soft([made.landmarks[5:12], made.landmarks[[57]]], made.landmarks, made.image.shape[:2], -0.05, 0) > 0.5
    )
    own = (
        masks.soft([person.landmarks[5:12], person.landmarks[[57]]], person.landmarks, person.image.shape[:2], -0.05, 0)
        > 0.5
    )
    chroma = [
        np.linalg.norm(light.to_lab(image)[..., 1:][mask].mean(axis=0))
        for image, mask in ((made.image, where), (person.image, own))
    ]
    assert chroma[0] < chroma[1] + 4


def test_the_roughness_of_a_beard_is_not_wanted_of_the_skin_of_a_person_without_one(woman, man):
    template = bearded(man)
    forehead = (
        masks.soft(
            [man.landmarks[17:27] - [0, 0.12 * face_width(man.landmarks)]], man.landmarks, man.image.shape[:2], 0, 0
        )
        > 0.5
    )

    def roughness(face):
        made = fuse(face.image, face.landmarks, woman, 1.0).image
        return float(cv2.Laplacian(light.to_lab(made)[..., 0], cv2.CV_32F)[forehead].std())

    assert roughness(template) < 1.3 * roughness(man)


def test_two_faces_without_facial_hair_are_fused_as_if_nobody_had_looked(woman, man):
    none = np.zeros(man.image.shape[:2], np.float32)
    looked = fuse(man.image, man.landmarks, woman, 0.5)
    assert np.array_equal(looked.image, fuse(man.image, man.landmarks, woman, 0.5, hair=none).image)
    assert not looked.hair.any()


def test_what_cannot_follow_the_person_is_said(woman, man):
    long = bearded(woman, below=0.8).facial_hair
    assert long.long
    assert list_difficulties(long, man.facial_hair) == [
        "the template's beard reaches further down than it is taken off"
    ]
    assert list_difficulties(man.facial_hair, long) == [
        "the person's beard reaches further down than it is brought along"
    ]
    assert list_difficulties(bearded(woman).facial_hair, moustached(man).facial_hair) == []


def test_stubble_is_taken_off_up_to_the_outline(woman, man):
    points, size = man.landmarks, man.image.shape[:2]
    rim = (masks.face(points, size, 0.0, 0.0) > 0.5) & (masks.face(points, size, 0.035, 0.0) < 0.5)
    rim[: round(points[48:60, 1].mean() + 0.15 * face_width(points))] = False
    dots = rim & (np.random.default_rng(0).random(size) < 0.4)
    stubble = np.where(dots[..., None], 0.85 * man.image, man.image).astype(np.uint8)

    def roughness(one, other):
        change = light.to_lab(one)[..., 0] - light.to_lab(other)[..., 0]
        return float(np.abs(change - cv2.GaussianBlur(change, (0, 0), 2))[rim].mean())

    made, bare = (fuse(image, points, woman, 1.0).image for image in (stubble, man.image))
    left = roughness(made, bare) / roughness(stubble, man.image)
    assert left < 0.3  # 0.37 where the person's face ends 0.025 face widths inside the outline


def test_stubble_that_the_mask_brings_beside_a_cheek_is_skin_in_the_shade(woman):
    """An ear lobe or a cheek beyond the outline would be painted over with the background."""
    crop = FaceCrop.of(woman.image, woman.landmarks, facial_hair.MARGIN)
    everywhere = np.ones(crop.size, np.float32)
    found = BeardTransfer.of(everywhere, np.zeros(crop.size, np.float32), crop).template
    beside = (crop.outline(0.0) < 0.02) & (cv2.erode(crop.skin_likeness, np.ones((3, 3))) > 0.9)
    beside[: round(crop.points[27, 1])] = beside[round(crop.points[48:60, 1].mean()) :] = False
    assert beside.sum() > 20
    assert np.median(found[beside]) < 0.4
    assert found[crop.outline(0.05) > 0.99].min() > 0.9


def test_wrinkles_are_no_beard(engine):
    """Grace Hopper's lip and chin are darker and rougher than her cheeks."""
    found = shown(engine, pictures.hopper()).facial_hair
    assert max(found.chin, found.jaw) < 0.2
