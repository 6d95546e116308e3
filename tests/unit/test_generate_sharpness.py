"""Focus, detail and grain on a real face's lightness: what is measured, and what is given back."""

import cv2
import numpy as np
import pytest

from functions.generate.face import light, masks
from functions.generate.face.landmarks import face_width
from functions.generate.fusion import detail_match
from shared.faces.mesh import MeshEngine
from shared.settings import FaceSettings
from tests import pictures

SIGMAS = (2.0, 3.0, 5.0)


class Subject:
    """The face of the astronaut, three times as large as in her picture, so that blurs show."""

    def __init__(self):
        image = cv2.resize(pictures.astronaut()[:256, 96:352], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        (face,) = MeshEngine(FaceSettings(provider="cpu")).detect(image)
        self.lightness = light.to_lab(image)[..., 0]
        self.face = masks.face(face.landmarks, image.shape[:2])
        self.width = face_width(face.landmarks)

    def blurred(self, sigma):
        return cv2.GaussianBlur(self.lightness, (0, 0), sigma)

    def blur(self, lightness):
        return detail_match.measure_blur(lightness, self.face, self.width) * self.width


@pytest.fixture(scope="module")
def subject():
    return Subject()


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_blur_is_measured_by_what_it_adds(subject, sigma):
    own = subject.blur(subject.lightness)
    assert subject.blur(subject.blurred(sigma)) == pytest.approx(np.hypot(own, sigma), rel=0.2)


def test_contrast_is_no_matter_of_focus(subject):
    pale = 40 + 0.5 * subject.lightness
    assert subject.blur(pale) == pytest.approx(subject.blur(subject.lightness), rel=0.05)


def test_a_plain_plane_has_no_blur(subject):
    assert subject.blur(np.full_like(subject.lightness, 50.0)) == 0


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_clear_face_is_taken_as_far_out_of_focus_as_the_template(subject, sigma):
    template = subject.blurred(sigma)
    drawn = detail_match.defocus(subject.lightness, subject.face, template, subject.face, subject.width)
    assert subject.blur(drawn) == pytest.approx(subject.blur(template), rel=0.1)
    inside = subject.face > 0.5
    assert np.abs(drawn - template)[inside].mean() < 0.25 * np.abs(subject.lightness - template)[inside].mean()


def test_a_template_in_focus_changes_nothing(subject):
    soft = subject.blurred(2.0)
    for template in (soft, subject.lightness):
        same = detail_match.defocus(soft, subject.face, template, subject.face, subject.width)
        assert np.array_equal(same, soft)


def raised(subject, smooth, grain):
    free = np.ones_like(smooth)
    wanted = light.measure_sharpness(subject.lightness, subject.face)
    return detail_match.match_sharpness(smooth + grain, smooth, subject.face > 0.5, free, wanted, subject.width)


def test_a_soft_face_is_raised_to_the_templates_detail(subject):
    soft = subject.blurred(1.0)
    edges = [
        cv2.Laplacian(one, cv2.CV_32F)[subject.face > 0.5].var()
        for one in (subject.lightness, soft, raised(subject, soft, 0.0))
    ]
    assert edges[1] < 0.7 * edges[0]
    assert edges[2] > min(0.95 * edges[0], 2 * edges[1])


def test_raising_detail_leaves_the_grain_as_it_is(subject):
    grain = np.random.default_rng(1).normal(0, 0.2, subject.lightness.shape).astype(np.float32)
    soft = subject.blurred(1.5)
    change = raised(subject, soft, grain) - soft - grain
    assert change.std() > 0.1
    assert abs(np.corrcoef(change.ravel(), grain.ravel())[0, 1]) < 0.05


def test_grain_is_matched_and_a_line_on_the_skin_is_not_etched():
    """Wrinkles and lashes are far stronger than grain: raising both by one factor would draw them in ink."""
    generator = np.random.default_rng(2)
    noise = generator.normal(0, 1, (200, 200)).astype(np.float32)
    own, template = (np.full((200, 200, 3), 60, np.float32) for _ in range(2))
    own[..., 0] += 0.4 * noise
    template[..., 0] += 0.8 * generator.normal(0, 1, (200, 200)).astype(np.float32)
    own[100, :, 0] -= 20
    skin = np.ones((200, 200), np.float32)
    matched = light.match_grain(own, skin, template, skin, width=200.0)
    flat = np.r_[20:90, 110:180]
    assert matched[flat].std() / own[flat][..., 0].std() == pytest.approx(1.9, abs=0.25)
    line, before = (60 - plane[100].mean() for plane in (matched, own[..., 0]))
    assert line < 1.1 * before


def test_raising_the_detail_of_a_small_photo_makes_no_halos(subject):
    """Beside the lashes of an enlarged photo, lighter lines than any skin there were etched into the face."""
    soft = subject.blurred(0.01 * subject.width)
    made = raised(subject, soft, 0.0)
    assert (made - soft).std() > 0.05, "it is raised"
    side = 2 * max(1, round(detail_match.NEIGHBORHOOD * subject.width)) + 1
    lowest, highest = cv2.erode(soft, np.ones((side, side))), cv2.dilate(soft, np.ones((side, side)))
    room = 1e-3 + detail_match.OVERSHOOT * (highest - lowest)
    assert (made <= highest + room).all()
    assert (made >= lowest - room).all()
