"""Glasses of a template stay on the face that comes under them."""

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from functions.generate.face.crop import FaceCrop
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from functions.generate.fusion.rigid import span_glasses
from functions.generate.glasses.aligned_face import SIZE
from functions.generate.glasses.frames import find_frames, measure_frames, wears_glasses
from functions.generate.glasses.network import WEIGHTS
from functions.generate.photo_choice import choose_reference
from tests import pictures
from tools.glasses_recipe.frames import put_on_glasses


@pytest.fixture(scope="module")
def portrayals(engine):
    images = {"hopper": pictures.hopper(), "astronaut": pictures.astronaut()}
    return {name: ReferencePhoto(image, engine.detect(image)[-1].landmarks) for name, image in images.items()}


def test_glasses_are_told_from_bare_eyes(portrayals):
    worn = {name: wears_glasses(one.image, one.landmarks) for name, one in portrayals.items()}
    assert worn == {"hopper": True, "astronaut": False}


def test_a_bare_face_has_no_frames(portrayals):
    one = portrayals["astronaut"]
    assert not find_frames(one.image, one.landmarks).any()


def dithered(image):
    """The picture in black and white dots."""
    return np.asarray(Pillow.fromarray(image).convert("1").convert("RGB"))


def noisy(levels):
    def make(image):
        noise = np.random.default_rng(3).normal(0, levels, image.shape)
        return np.clip(image + noise, 0, 255).round().astype(np.uint8)

    return make


@pytest.mark.parametrize("change", [noisy(15), noisy(25), noisy(40), dithered])
def test_grain_is_no_glasses(portrayals, change):
    """High sensitivities and newsprint have dark lines everywhere, and a face got white or dark frames drawn on it."""
    one = portrayals["astronaut"]
    assert not wears_glasses(change(one.image), one.landmarks)


def test_glasses_are_seen_through_grain(portrayals):
    one = portrayals["hopper"]
    assert wears_glasses(noisy(8)(one.image), one.landmarks)


def wire(one, shade=0.62):
    """Thin, pale wire frames with temples, drawn onto a bare face: each line is 2 pixels of half-covered skin."""
    points, drawn = one.landmarks, np.zeros(one.image.shape[:2], np.uint8)
    centers = [points[side].mean(axis=0) for side in (slice(36, 42), slice(42, 48))]
    radius = 0.36 * float(np.linalg.norm(centers[1] - centers[0]))
    lines = [(centers[0] + [radius, 0], centers[1] - [radius, 0])]
    lines += [(centers[0] - [radius, 0], points[0]), (centers[1] + [radius, 0], points[16])]
    for center in centers:
        cv2.circle(drawn, tuple(round(float(x)) for x in center), round(radius), 255, 2, cv2.LINE_AA)
    for begin, end in lines:
        cv2.line(drawn, tuple(map(round, begin.tolist())), tuple(map(round, end.tolist())), 255, 2, cv2.LINE_AA)
    share = shade * drawn[..., None] / 255
    return np.round(one.image * (1 - share) + 90 * share).astype(np.uint8)


def test_wire_is_seen_by_its_bridge_and_temples(portrayals):
    """The faint frames of every seventh portrait were taken for none, and only the stumps of their temples stayed."""
    one = portrayals["astronaut"]
    assert wears_glasses(wire(one), one.landmarks)


def test_colored_light_puts_no_glasses_on_a_bare_face(portrayals):
    one = portrayals["astronaut"]
    for gain in ((0.3, 1.0, 0.4), (0.45, 1.0, 0.5), (1.0, 0.5, 0.4), (0.4, 0.6, 1.0)):
        lit = np.clip(one.image * np.array(gain), 0, 255).astype(np.uint8)
        assert not wears_glasses(lit, one.landmarks), gain


def test_a_frame_that_is_found_in_part_is_rigid_as_a_whole(portrayals):
    """Where nothing of it was found, on one side or on the way to the ears, a frame got bent."""
    one = portrayals["hopper"]
    frames, p = find_frames(one.image, one.landmarks), one.landmarks
    part = frames.copy()
    part[:, round(p[27, 0]) :] = 0
    lost = (frames > 0.5) & (part < 0.5)
    assert lost.sum() > 50
    assert (span_glasses(part, p)[lost] > 0.5).mean() > 0.8
    assert not span_glasses(np.zeros_like(frames), p).any()


def test_frames_lie_around_the_eyes_and_not_on_them(portrayals):
    one = portrayals["hopper"]
    frames = find_frames(one.image, one.landmarks)
    rows, columns = np.nonzero(frames > 0.5)
    assert one.landmarks[19, 1] - 15 < rows.min()
    assert rows.max() < one.landmarks[33, 1]
    assert columns.min() < one.landmarks[36, 0] < one.landmarks[45, 0] < columns.max()
    for eye in (one.landmarks[36:42], one.landmarks[42:48]):
        x, y = eye.mean(axis=0).round().astype(int)
        assert frames[y, x] < 0.1


# in the picture of Grace Hopper the lenses' edges, drawn by hand: black above, and below as pale as wrinkled skin
LENSES = (
    "248,184 233,179 213,177 195,181 187,188 189,198 193,208 202,221 215,229 228,229 240,223 248,210 252,196",
    "283,179 297,174 320,171 337,175 342,182 342,193 337,208 327,220 313,227 303,228 293,223 285,211 280,198 279,185",
)


@pytest.mark.parametrize("moved", [0.0, 1.0])
def test_rims_are_found_all_around_both_lenses_wherever_landmarks_lie_to_a_pixel(portrayals, moved):
    one = portrayals["hopper"]
    shift = moved * np.random.default_rng(2).standard_normal(one.landmarks.shape)
    frames = find_frames(one.image, one.landmarks + shift)
    edges, within = np.zeros(frames.shape, np.uint8), np.zeros(frames.shape, np.uint8)
    for lens in LENSES:
        outline = np.array([point.split(",") for point in lens.split()]).astype(np.int32)
        cv2.polylines(edges, [outline], True, 1, 1)
        cv2.fillPoly(within, [outline], 1)
    within = cv2.erode(within, np.ones((15, 15), np.uint8))
    assert (cv2.dilate(frames, np.ones((3, 3)))[edges > 0] > 0.5).mean() > 0.77
    assert (frames[within > 0] > 0.3).mean() < 0.04, "wrinkles behind a lens are no rim"


def test_frames_survive_two_full_fusions(portrayals):
    template, person = portrayals["hopper"], portrayals["astronaut"]
    fused = fuse(template.image, template.landmarks, person, 1.0)
    fused = fuse(fused.image, fused.landmarks, person, 1.0, frames=fused.frames)
    assert wears_glasses(fused.image, fused.landmarks)
    none = np.zeros(template.image.shape[:2], np.float32)
    bare = fuse(template.image, template.landmarks, person, 1.0, frames=none)
    assert depth_of_bridge(fused) > 1.5 * depth_of_bridge(bare), "it is the frames that were kept"


def depth_of_bridge(shown):
    """How surely there is a frame across the root of the nose, 0 to 1."""
    root = SIZE[1] // 2
    return measure_frames(FaceCrop.of(shown.image, shown.landmarks))[:, root - 6 : root + 7].max(axis=0).mean()


def with_glasses(one, thickness):
    """Black round glasses drawn onto a bare face, with a highlight across the bridge's joints."""
    image, points = one.image.copy(), one.landmarks
    centers = [points[side].mean(axis=0) for side in (slice(36, 42), slice(42, 48))]
    radius = 0.36 * float(np.linalg.norm(centers[1] - centers[0]))
    for center in centers:
        cv2.circle(image, tuple(round(float(x)) for x in center), round(radius), (12, 12, 14), thickness)
    start, end = (centers[0] + [radius, 0]).round().astype(int), (centers[1] - [radius, 0]).round().astype(int)
    cv2.line(image, tuple(map(int, start)), tuple(map(int, end)), (12, 12, 14), thickness)
    return ReferencePhoto(image, points, glasses=True)


def test_a_thick_frame_is_found_without_a_gap_at_the_bridge(portrayals):
    one = portrayals["astronaut"]
    large = ReferencePhoto(cv2.resize(one.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), one.landmarks * 2)
    worn = with_glasses(large, 13)
    drawn = np.any(worn.image != large.image, axis=-1)
    middle = slice(round(worn.landmarks[39, 0]), round(worn.landmarks[42, 0])), worn.landmarks[36:48, 1]
    bridge = np.zeros_like(drawn)
    bridge[round(middle[1].min()) : round(middle[1].max()), middle[0]] = True
    found = find_frames(worn.image, worn.landmarks)
    assert (found[drawn & bridge] > 0.5).mean() > 0.9


@pytest.mark.parametrize("thickness", [5, 9, 13])
def test_frames_are_the_rims_and_nothing_beside_them(portrayals, thickness):
    one = portrayals["astronaut"]
    large = ReferencePhoto(cv2.resize(one.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), one.landmarks * 2)
    worn = with_glasses(large, thickness)
    drawn = np.any(worn.image != large.image, axis=-1)
    found = find_frames(worn.image, worn.landmarks) > 0.5
    assert (drawn & found).sum() > 0.9 * drawn.sum()
    near = cv2.dilate(drawn.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (found & ~near).sum() < 0.1 * found.sum()


def test_neither_brows_nor_bags_below_the_eyes_are_frames(portrayals):
    one = portrayals["hopper"]
    frames, p = find_frames(one.image, one.landmarks), one.landmarks
    brows = np.zeros(frames.shape, np.uint8)
    for side in (slice(18, 22), slice(22, 26)):
        cv2.polylines(brows, [(p[side] - [0, 3]).round().astype(np.int32)], False, 1, 3)
    bags = np.zeros(frames.shape, np.uint8)
    for side in ([41, 40], [47, 46]):
        cv2.polylines(bags, [(p[side] + [0, 13]).round().astype(np.int32)], False, 1, 5)
    assert frames[brows > 0].mean() < 0.2
    assert frames[bags > 0].mean() < 0.1


def test_a_persons_own_glasses_come_over_whole(portrayals):
    """Their ends lie beside the cheeks, where else no dark lock of the person's hair comes over."""
    template, wearing = portrayals["astronaut"], replace(portrayals["hopper"], glasses=True)
    fused = fuse(template.image, template.landmarks, wearing, 1.0)
    cut = fuse(template.image, template.landmarks, portrayals["hopper"], 1.0)
    darker = cut.image.astype(int).sum(axis=-1) - fused.image.astype(int).sum(axis=-1)
    assert np.ptp(np.nonzero(darker > 60)[1]) > 0.85 * np.ptp(fused.landmarks[:17, 0])
    for beside in (np.s_[:, : round(fused.landmarks[36, 0])], np.s_[:, round(fused.landmarks[45, 0]) :]):
        assert (darker[beside] > 60).sum() > 40


def test_a_face_never_wears_two_pairs_of_glasses(portrayals):
    template, bare = portrayals["hopper"], portrayals["astronaut"]
    frames = find_frames(template.image, template.landmarks)
    wearing = with_glasses(bare, 5)
    assert find_frames(wearing.image, wearing.landmarks).any()
    wanted = fuse(template.image, template.landmarks, bare, 1.0, frames=frames).image.astype(int)
    without_rule = fuse(template.image, template.landmarks, wearing, 1.0, frames=np.zeros_like(frames))
    fused = fuse(template.image, template.landmarks, wearing, 1.0, frames=frames)
    own = without_rule.image.astype(int).sum(axis=-1) - wanted.sum(axis=-1) < -150  # where the person's rims came over
    own &= fused.frames < 0.05
    assert own.sum() > 50
    second = fused.image.astype(int).sum(axis=-1) - wanted.sum(axis=-1) < -150
    assert (own & second).sum() < 0.18 * own.sum()


def test_a_photo_without_glasses_is_taken_before_one_with(portrayals):
    bare = portrayals["astronaut"]
    wearing = with_glasses(bare, 5)
    assert choose_reference([wearing, bare], bare.landmarks) is bare
    assert choose_reference([wearing], bare.landmarks) is wearing


def test_painted_glasses_of_all_kinds_are_found_where_they_are(portrayals):
    """The recipe's glasses on a face that the network never saw, drawn larger than its canvas."""
    one, rng, found, drawn, common = portrayals["astronaut"], np.random.default_rng(7), 0.0, 0.0, 0.0
    crop = FaceCrop.of(one.image, one.landmarks)
    large, points = cv2.resize(crop.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), crop.points * 3
    for _ in range(8):
        worn = put_on_glasses(rng, large.astype(np.float32), points)
        frames = find_frames(np.clip(worn.canvas, 0, 255).astype(np.uint8), points) * (worn.doubtful < 0.05)
        found, drawn = found + frames.sum(), drawn + worn.frames.sum()
        common += np.minimum(frames, worn.frames).sum()
    assert common > 0.8 * drawn
    assert common > 0.55 * found


def test_the_network_is_part_of_what_is_installed_and_its_card_names_its_digest():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    (pattern,) = project["tool"]["setuptools"]["package-data"]["functions.generate.glasses"]
    assert WEIGHTS in set((root / "functions/generate/glasses").glob(pattern))
    card = (WEIGHTS.parent / "README.md").read_text()
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in card
