"""What lies before a face: how it is found, lifted off, put back, and never taken from a person's photo."""

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from functions.generate import template as templates
from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from functions.generate.occlusion import aligned_face
from functions.generate.occlusion.hairline import hanging
from functions.generate.occlusion.layer import OccluderLayer
from functions.generate.occlusion.network import WEIGHTS, OccluderNetwork
from functions.generate.occlusion.occluder import (
    VIEW,
    VIEW_WIDTH,
    compare_colors,
    fill_holes,
    find_objects,
    find_occluder,
    measure_hidden,
    smooth_outline,
)
from functions.generate.photo_choice import choose_reference, mirror_image
from functions.generate.request import FaceAssignment
from shared.errors import UnsuitableFace
from shared.settings import FaceSettings, GenerateSettings
from tests import pictures
from tests.occluders import COVERING, cover

COUNTED = 0.5  # share of a pixel from which it counts as covered


@pytest.fixture(scope="module")
def network():
    return OccluderNetwork(FaceSettings(provider="cpu", intra_threads=1))


@pytest.fixture(scope="module")
def astronaut(engine):
    image = pictures.astronaut()
    return ReferencePhoto(image, engine.detect(image)[-1].landmarks)


@pytest.fixture(scope="module")
def hopper(engine):
    image = pictures.hopper()
    return ReferencePhoto(image, engine.detect(image)[-1].landmarks)


def mask_of(image, landmarks, network):
    found = find_occluder(image, landmarks, network)
    height, width = image.shape[:2]
    return np.zeros((height, width), np.float32) if found is None else found.cut(slice(0, height), slice(0, width))


def inside(landmarks, image):
    return masks.face(landmarks, image.shape[:2], 0.02, 0.0) > COUNTED


def test_bare_faces_are_taken_for_faces(engine, network):
    """Six people, light and dark, with and without glasses, one in profile, and two portraits."""
    shown = [pictures.group(), pictures.astronaut(), pictures.hopper()]
    faces = [(image, face.landmarks) for image in shown for face in engine.detect(image)]
    assert len(faces) == 8
    for number, (image, landmarks) in enumerate(faces):
        where = inside(landmarks, image)
        # a fringe and the peak of a cap are before a face, indeed, and the first one's hair falls over both her cheeks
        where[: int(landmarks[17:27, 1].min())] = False
        assert (mask_of(image, landmarks, network)[where] > COUNTED).mean() < (0.14 if number == 0 else 0.02)


@pytest.mark.parametrize("kind", COVERING)
@pytest.mark.parametrize("whose", ["astronaut", "hopper"])
def test_objects_are_found_whole_and_nothing_beside_them(request, network, kind, whose):
    face = request.getfixturevalue(whose)
    covered, alpha = cover(kind, face.image, face.landmarks)
    found = mask_of(covered, face.landmarks, network)
    where = inside(face.landmarks, covered)
    assert (found[where & (alpha > 0.9)] > COUNTED).mean() > 0.88
    where[: int(face.landmarks[17:27, 1].min())] = False  # a fringe is before a face, indeed
    assert (found[where & (alpha < 0.1)] > COUNTED).mean() < 0.03


def test_an_object_is_found_at_any_size_of_the_picture(astronaut, network):
    covered, alpha = cover("cup", astronaut.image, astronaut.landmarks)
    for factor in (0.5, 3.0):
        resized = cv2.resize(covered, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else 2)
        landmarks = (astronaut.landmarks + 0.5) * factor - 0.5
        found = mask_of(resized, landmarks, network)
        there = cv2.resize(alpha, resized.shape[1::-1]) > 0.9
        assert (found[there & inside(landmarks, resized)] > COUNTED).mean() > 0.9


def network_sees(width):
    """An object of 0.4 by 0.5 face widths, and what the network may say: it is sure of it, and spurs stick out."""
    size = round(1.2 * width)
    y, x = np.mgrid[:size, :size].astype(np.float32) / width
    thing = (abs(x - 0.6) < 0.2) & (abs(y - 0.6) < 0.25)
    spurs = (abs(x - 0.6) < 0.275) & (abs(y - 0.8) < 0.05)
    share = cv2.GaussianBlur(np.where(thing, 1.0, np.where(spurs, 0.8, 0.0)).astype(np.float32), (0, 0), 0.01 * width)
    return x, y, thing, spurs & ~thing, share


def plane(skin, thing, color, where):
    lab = np.full((*thing.shape, 3), skin, np.float32)
    lab[thing] = color
    lab[where] = color * np.float32(0.3)
    return lab + np.random.default_rng(0).normal(0, 2, lab.shape).astype(np.float32)


def test_a_colored_cup_ends_where_its_color_ends_and_its_dark_inside_belongs_to_it():
    """What the network takes for the cup beside it would be left as hairlines of the old face."""
    width = 320
    x, y, thing, spurs, share = network_sees(width)
    inside = np.hypot((x - 0.6) / 0.17, (y - 0.4) / 0.035) < 1
    found = compare_colors(plane((65, 16, 18), thing, np.array([45, 60, 40]), inside), share, width)
    assert (found[spurs] > 0.5).mean() < 0.03
    assert (found[thing] > 0.5).mean() > 0.98


def test_a_corner_of_the_mouth_beside_a_cup_is_none_of_it_and_a_nick_is():
    """What hangs on the cup by a thread, or lies apart, would be a piece of the old face; a nick shows the new one."""
    width = 320
    y, x = np.mgrid[:384, :384].astype(np.float32) / width
    cup = (abs(x - 0.6) < 0.2) & (abs(y - 0.6) < 0.25)
    nick, corner = np.hypot(x - 0.5, y - 0.4) < 0.015, np.hypot(x - 0.86, y - 0.5) < 0.02
    thread = (abs(y - 0.5) < 0.004) & (x > 0.78) & (x < 0.86)
    fine = ((cup & ~nick) | corner | thread).astype(np.float32)
    found = smooth_outline(fine, np.where(cup, 1, 0.6).astype(np.float32), width)
    assert found[nick].min() > 0.9
    assert found[corner].max() < 0.1
    assert (found[cup] > 0.9).mean() > 0.95


@pytest.mark.parametrize("reaching_in", [False, True])
def test_what_only_reaches_into_a_face_is_left_to_a_template_and_not_taken_from_a_person(astronaut, reaching_in):
    """Beside a template's cheek nothing changes anyway; a neighbor's hair in a person's photo would be drawn."""
    points = FaceCrop.of(astronaut.image, astronaut.landmarks, VIEW).scaled(VIEW_WIDTH)
    placed = aligned_face.transform(points.points, aligned_face.align(points.points))
    x = np.broadcast_to(np.arange(aligned_face.SIDE, dtype=np.float32), (aligned_face.SIDE,) * 2)
    beside = (x > placed[14, 0] - 4).astype(np.float32)
    found = find_objects(points.image, points.points, lambda planes: beside, reaching_in)
    assert found.any() == reaching_in
    # the person is drawn a little beyond the outline, too
    assert (found > 0.9)[:, round(placed[14, 0]) : round(placed[14, 0]) + 15].any(axis=0).all() == reaching_in


def test_a_face_is_seen_through_a_handle_and_not_through_the_inside_of_a_cup():
    y, x = np.mgrid[:112, :112].astype(np.float32)
    away = np.hypot(x - 56, y - 56)
    ring = (away > 16) & (away < 32)
    inner = away <= 16
    assert not fill_holes(ring, inner)[inner].any()
    assert fill_holes(ring, inner & False)[inner].all()


def test_a_hand_keeps_what_the_network_says():
    """Its color is the face's, so that nothing far from the network's border is told from the face by color."""
    width = 320
    _, _, thing, _, share = network_sees(width)
    found = compare_colors(plane((65, 16, 18), thing, np.array([60, 17, 18]), thing & False), share, width)
    assert (found[thing] > 0.5).mean() > 0.95


def test_what_is_covered_stays_bit_for_bit_whatever_the_stages_do(astronaut):
    covered, alpha = cover("cup", astronaut.image, astronaut.landmarks)
    layer = OccluderLayer.of(covered, astronaut.landmarks, alpha)
    changed = 255 - layer.cleared
    result = layer.put_back(changed)
    assert np.array_equal(result[alpha == 1], covered[alpha == 1])
    assert np.array_equal(result[alpha == 0], changed[alpha == 0])


def test_stages_that_change_nothing_leave_the_picture_as_it_is(astronaut):
    covered, alpha = cover("cup", astronaut.image, astronaut.landmarks)
    layer = OccluderLayer.of(covered, astronaut.landmarks, alpha)
    assert np.array_equal(layer.put_back(layer.cleared), covered)
    assert np.array_equal(layer.cleared[alpha == 0], covered[alpha == 0])


def test_no_rim_of_the_old_face_is_left_around_an_object(astronaut):
    """On the soft edge, the face's part of a pixel changes as much as the face beside it."""
    _, alpha = cover("cup", astronaut.image, astronaut.landmarks)
    soft = cv2.GaussianBlur(alpha, (0, 0), 2.0)
    skin, cup = np.array([200, 150, 130], np.float32), np.array([20, 60, 160], np.float32)
    image = np.round(skin + soft[..., None] * (cup - skin)).astype(np.uint8)
    layer = OccluderLayer.of(image, astronaut.landmarks, soft)
    darker = np.clip(layer.cleared.astype(int) - 80, 0, 255).astype(np.uint8)
    wanted = (skin - 80) + soft[..., None] * (cup - (skin - 80))
    where = inside(astronaut.landmarks, image) & (soft > 0.02)
    assert np.abs(layer.put_back(darker) - wanted)[where].max() < 6


def test_the_cleared_face_has_skin_where_the_object_was(astronaut):
    covered, alpha = cover("cup", astronaut.image, astronaut.landmarks)
    layer = OccluderLayer.of(covered, astronaut.landmarks, alpha)
    where = inside(astronaut.landmarks, covered) & (alpha > 0.9)
    skin = np.median(astronaut.image[inside(astronaut.landmarks, covered) & (alpha < 0.1)], axis=0)
    assert np.abs(np.median(layer.cleared[where], axis=0) - skin).max() < 25
    assert np.abs(np.median(covered[where], axis=0) - skin).max() > 60, "the object itself has another color"


def test_a_face_with_nothing_before_it_has_no_layer(astronaut):
    layer = OccluderLayer.of(astronaut.image, astronaut.landmarks, np.zeros(astronaut.image.shape[:2], np.float32))
    assert layer.empty
    assert layer.cleared is astronaut.image
    assert layer.movable(astronaut.landmarks).min() == 1


def test_nothing_moves_where_an_object_leaves_the_face(astronaut):
    covered, alpha = cover("microphone", astronaut.image, astronaut.landmarks)
    movable = OccluderLayer.of(covered, astronaut.landmarks, alpha).movable(astronaut.landmarks)
    chin, middle = astronaut.landmarks[8], astronaut.landmarks[30]
    below = np.round(chin + (chin - middle) * 0.35).astype(int)
    assert alpha[below[1], below[0]] == 1
    assert movable[below[1], below[0]] < 0.2
    x, y = np.round(middle).astype(int)
    assert movable[y, x] == 1
    temple = np.round(astronaut.landmarks[0]).astype(int)
    assert movable[temple[1], temple[0]] > 0.95


def test_what_lies_before_a_large_face_is_lifted_off_as_before_a_small_one(astronaut):
    """From 512 pixels across the face on, skin and movement are computed on a smaller copy."""
    times = 4
    covered, alpha = cover("microphone", astronaut.image, astronaut.landmarks)
    small = OccluderLayer.of(covered, astronaut.landmarks, alpha)
    wide = [cv2.resize(one, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR) for one in (covered, alpha)]
    landmarks = (astronaut.landmarks + 0.5) * times - 0.5
    large = OccluderLayer.of(wide[0], landmarks, wide[1])
    assert np.array_equal(large.cleared[wide[1] == 0], wide[0][wide[1] == 0])
    cleared, movable = (
        cv2.resize(one, alpha.shape[::-1], interpolation=cv2.INTER_AREA)
        for one in (large.cleared, large.movable(landmarks))
    )
    # but for the border of the surroundings, which is rounded to pixels
    assert (np.abs(movable - small.movable(astronaut.landmarks)) > 0.2).mean() < 0.001
    apart = np.abs(cleared.astype(int) - small.cleared)[inside(astronaut.landmarks, covered) & (alpha > 0)]
    assert apart.mean() < 8


def fringe_of(astronaut):
    """The share of her hair on the forehead, with a ragged lower edge and a strand that was missed."""
    points, size = astronaut.landmarks, astronaut.image.shape[:2]
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    width, brows = np.ptp(points[:17, 0]), points[17:27].mean(axis=0)
    low = brows[1] - (0.2 + 0.02 * np.sin(x)) * width
    missed = (abs(x - brows[0]) < 0.012 * width) & (y > low - 0.1 * width) & (y < low - 0.03 * width)
    there = (y < low) & (abs(x - brows[0]) < 0.5 * width)
    return (there & ~missed).astype(np.float32), there & missed


def test_hair_on_the_forehead_is_no_layer_and_nothing_changes_around_it(astronaut):
    """Skin painted where its strands are would be drawn between them, and cut the hairline raggedly."""
    share, missed = fringe_of(astronaut)
    layer = OccluderLayer.of(astronaut.image, astronaut.landmarks, share)
    assert np.array_equal(layer.cleared[share > 0], astronaut.image[share > 0])
    movable = layer.movable(astronaut.landmarks)
    assert movable[missed].max() < 0.15
    assert movable[cv2.erode(share, np.ones((9, 9))) == 1].max() < 0.1
    assert movable[masks.eyes(astronaut.landmarks, share.shape) > 0.1].min() > 0.95


def test_hair_hangs_on_forehead_and_temples_and_not_before_features(astronaut):
    points, size = astronaut.landmarks, astronaut.image.shape[:2]
    hangs = hanging(points, size)
    for feature in (masks.eyes(points, size), masks.lips(points, size), masks.brows(points, size, 0.0, 0.0)):
        assert hangs[feature > COUNTED].mean() < 0.05
    x, y = np.round(points[17:27].mean(axis=0) - [0, 0.15 * np.ptp(points[:17, 0])]).astype(int)
    assert hangs[y, x] == 1
    x, y = np.round(points[0] * 0.97 + points[16] * 0.03).astype(int)
    assert hangs[y, x] > 0.9


def test_eyes_nose_and_mouth_count_a_third_each(astronaut):
    points, size = astronaut.landmarks, astronaut.image.shape[:2]
    lower = np.zeros(size, np.float32)
    assert measure_hidden(points, lower) == 0
    lower[int(points[48:60, 1].min() - 4) :] = 1
    assert measure_hidden(points, lower) == pytest.approx(1 / 3, abs=0.04)
    upper = np.zeros(size, np.float32)
    upper[: int(points[36:48, 1].max() + 4)] = 1
    assert 1 / 3 <= measure_hidden(points, upper) < 0.55, "both eyes, and the upper part of the nose"
    assert measure_hidden(points, np.ones(size, np.float32)) == 1


def test_a_face_that_is_hidden_too_much_is_refused_with_the_share(engine, network, astronaut):
    covered, _ = cover("mask", astronaut.image, astronaut.landmarks)
    (face,) = engine.detect(astronaut.image)
    strict = GenerateSettings(most_hidden=0.3)
    message = r"t\.jpg: the face is hidden: something lies before \d\d% of its eyes, nose and mouth.*limit of 30%"
    with pytest.raises(UnsuitableFace, match=message) as error:
        templates.find_occluders(covered, [face], [FaceAssignment("ann")], "t.jpg", network, strict)
    assert error.value.field == "template_image"
    (found,) = templates.find_occluders(covered, [face], [FaceAssignment("ann")], "t.jpg", network, GenerateSettings())
    assert 0.4 < found.hidden < 0.7, "by default a mask is kept"
    assert templates.find_occluders(covered, [face], [FaceAssignment("none")], "t.jpg", network, strict) == [None]


def noted(photo, network):
    found = find_occluder(photo.image, photo.landmarks, network)
    if found is None:
        return photo
    height, width = photo.image.shape[:2]
    share = found.cut(slice(0, height), slice(0, width))
    return replace(photo, occluder=share, hidden=max(found.hidden, found.covered))


def test_a_photo_with_a_cup_before_the_mouth_is_not_chosen(astronaut, network):
    covered, _ = cover("cup", astronaut.image, astronaut.landmarks)
    cup = noted(replace(astronaut, image=covered), network)
    turned = replace(astronaut, landmarks=astronaut.landmarks * [0.97, 1.0] + [8, 0])
    assert cup.hidden > 0.1
    assert choose_reference([cup, turned], astronaut.landmarks) is turned
    assert choose_reference([cup], astronaut.landmarks) is cup


def test_a_cup_before_the_person_does_not_come_along(hopper, astronaut, network):
    covered, _ = cover("cup", astronaut.image, astronaut.landmarks)
    cup = noted(replace(astronaut, image=covered), network)
    for photo in (cup, mirror_image(cup)):
        made = fuse(hopper.image, hopper.landmarks, photo, 1.0)
        careless = fuse(hopper.image, hopper.landmarks, replace(photo, occluder=None), 1.0)
        where = inside(made.landmarks, made.image)
        assert count_blue(careless.image, where) > 3 * max(count_blue(made.image, where), 20)


def count_blue(image, where):
    """Pixels of the color of the cup of `tests.occluders`, which no face has."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return int((where & (lab[..., 2] < -8)).sum())


def test_the_network_is_part_of_what_is_installed_and_its_card_names_its_digest():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    (pattern,) = project["tool"]["setuptools"]["package-data"]["functions.generate.occlusion"]
    assert WEIGHTS in set((root / "functions/generate/occlusion").glob(pattern))
    card = (WEIGHTS.parent / "README.md").read_text()
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in card
