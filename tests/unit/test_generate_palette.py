"""Palettes: a person has no more color, and no more light, than the template gives."""

import cv2
import numpy as np
import pytest

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.picture_palette import limiting_palette
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from tests import pictures

SEPIA = np.array([1.0, 0.82, 0.6])


def best(engine, image):
    return max(engine.detect(image), key=lambda face: face.score)


@pytest.fixture(scope="module")
def person(engine):
    image = pictures.astronaut()
    return ReferencePhoto(image, best(engine, image).landmarks)


@pytest.fixture(scope="module")
def template(engine):
    """Grace Hopper's head, whose own colors tests take away."""
    image = np.ascontiguousarray(pictures.hopper()[:400])
    return ReferencePhoto(image, best(engine, image).landmarks)


def faded(image, share):
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(float)
    return np.rint(gray + share * (image - gray)).astype(np.uint8)


def gray(image):
    return faded(image, 0.0)


def toned(image, tint):
    return np.rint(gray(image) * tint).astype(np.uint8)


def duotone(image):
    level = gray(image)[..., 0]
    inks = ([20, 200, 255], [20, 60, 230], [90, 120, 120])
    return np.stack([np.interp(level, [0, 128, 255], ink) for ink in inks], axis=-1).round().astype(np.uint8)


def with_noise(image):
    """Gray as a scanner sees it, saved as a jpg."""
    noise = np.random.default_rng(5).normal(0, 4, image.shape)
    stored = pictures.jpeg(np.clip(gray(image) + noise, 0, 255).astype(np.uint8), 80)
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def dimmed(image, share=0.1):
    return np.rint(image * share).astype(np.uint8)


def bleached(image, share=0.1):
    return 255 - dimmed(255 - image, share)


def palette(image, landmarks):
    return FaceCrop.of(image, landmarks).palette


def portrayed(image, template, person):
    """The person in this picture of the template's face, twice fused as the default is."""
    original = FaceCrop.of(image, template.landmarks)
    made, landmarks, frames = image, template.landmarks, None
    for _ in range(2):
        shown = fuse(made, landmarks, person, 0.5, frames=frames, original=original)
        made, landmarks, frames = original.palette.limit_tint(shown.image, image), shown.landmarks, shown.frames
    return made, landmarks


def away(image, like):
    """How far colors, (N, 3) in RGB, are from those that `like` has at the same lightness, in a and b."""
    one, other = light.to_lab(image[None])[0], light.to_lab(like).reshape(-1, 3)
    order = np.argsort(other[:, 0])
    usual = [np.interp(one[:, 0], other[order, 0], other[order, c]) for c in (1, 2)]
    return np.hypot(one[:, 1] - usual[0], one[:, 2] - usual[1])


@pytest.mark.parametrize("uncolored", [gray, with_noise])
def test_a_neutral_template_gives_a_neutral_face(template, person, uncolored):
    image = uncolored(template.image)
    made, _ = portrayed(image, template, person)
    changed = np.any(made != image, axis=-1)
    assert changed.mean() > 0.05
    assert np.ptp(made[changed], axis=-1).max() == 0


@pytest.mark.parametrize("tint", [lambda image: toned(image, SEPIA), duotone, lambda image: toned(image, SEPIA[::-1])])
def test_a_template_of_one_tint_gives_a_face_of_that_tint(template, person, tint):
    image = tint(template.image)
    made, _ = portrayed(image, template, person)
    changed = np.any(made != image, axis=-1)
    assert np.quantile(away(made[changed], image), 0.99) < np.quantile(away(image[changed], image), 0.99) + 4


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_a_persons_colors_fade_as_the_templates_have(template, person, share):
    """Brows, lips and lids leave the skin's tint by no more than in the colored portrait, times the share."""
    image = faded(template.image, share)
    colored, faint = portrayed(template.image, template, person), portrayed(image, template, person)
    spreads = [palette(made, landmarks).strength for made, landmarks in (colored, faint)]
    assert spreads[1] < 1.5 * share * spreads[0]
    lab = light.to_lab(faint[0])
    changed = np.any(faint[0] != image, axis=-1)
    assert np.quantile(lab[changed][:, 2], 0.01) > np.quantile(light.to_lab(image)[changed][:, 2], 0.01) - 1.5  # blue


def test_ordinary_templates_are_left_their_colors_and_their_light(engine, person, template):
    faces = [(one.image, one.landmarks) for one in (person, template)]
    group = pictures.group()
    faces += [(group, face.landmarks) for face in engine.detect(group)[:6]]
    assert len(faces) == 2 + 6
    for image, landmarks in faces:
        found = palette(image, landmarks)
        assert (found.natural, found.modeled) == (1, 1)
        assert found.limit_tint(person.image, image[:1]) is person.image
        assert found.scale_changes(person.image, person.image) is person.image


@pytest.mark.parametrize("light_of", [dimmed, lambda image: dimmed(image, 0.2), bleached])
def test_a_face_follows_the_templates_light_into_black_and_white(template, person, light_of):
    image = light_of(template.image)
    made, landmarks = portrayed(image, template, person)
    face = masks.face(landmarks, image.shape[:2]) > 0.9
    got, wanted = (light.to_lab(one)[..., 0][face] for one in (made, image))
    assert abs(np.median(got) - np.median(wanted)) < 2
    assert np.quantile(got, 0.99) < np.quantile(wanted, 0.99) + 3
    assert np.quantile(got, 0.01) > np.quantile(wanted, 0.01) - 5


def test_a_networks_changes_have_the_templates_colors(template):
    """What a diffusion or a restoration brings is scaled, and what it leaves stays bit for bit."""
    before = gray(template.image)
    after = before.copy()
    after[100:200, 100:200] = (200, 90, 60)
    found = palette(before, template.landmarks)
    made = found.limit_tint(found.scale_changes(after, before), before)
    assert np.ptp(made, axis=-1).max() == 0
    assert np.array_equal(made[200:], before[200:])
    assert abs(light.to_lab(made)[150, 150, 0] - light.to_lab(after)[150, 150, 0]) < 1
    faint = faded(template.image, 0.3)
    brought = palette(faint, template.landmarks).scale_changes(template.image, faint)
    chroma = [np.linalg.norm(light.to_lab(one)[..., 1:], axis=-1).mean() for one in (faint, brought, template.image)]
    assert chroma[0] < chroma[1] < 0.65 * chroma[2]


def test_a_background_keeps_to_a_picture_without_colors_and_no_other(engine, template):
    faces = [best(engine, template.image)]
    assert limiting_palette(template.image, faces) is None
    assert limiting_palette(gray(template.image), faces).neutral
    # one gray face in a colored picture: its surroundings may have their colors
    part = template.image.copy()
    rows, columns = masks.region(template.landmarks, part.shape[:2], 0.05)
    part[rows, columns] = gray(part[rows, columns])
    assert limiting_palette(part, faces) is None or limiting_palette(part, faces).strength > 2
