"""Retouching, make-up and sharpening on real faces: an effect in the right place, and none anywhere else."""

from functools import cached_property
from itertools import pairwise, product

import cv2
import numpy as np
import pytest

from functions.generate.face import light, masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.face.guided_filter import guided_filter
from functions.generate.face.landmarks import face_width
from functions.generate.glasses.frames import find_frames
from functions.generate.retouching import makeup, sharpen, skin_retouching
from tests import pictures

SOURCES = ("astronaut", "hopper", "group")


class Subject:
    """A picture with one of its faces."""

    def __init__(self, image, landmarks):
        self.image, self.landmarks = image, landmarks
        self.size, self.width = image.shape[:2], face_width(landmarks)
        self.free, self.no_frames = np.ones(self.size, np.float32), np.zeros(self.size, np.float32)

    @cached_property
    def frames(self):
        """Looked for where make-up asks for them: spots by the dozen need none."""
        return find_frames(self.image, self.landmarks)

    def retouched(self, free=None):
        return skin_retouching.retouch_skin(
            self.image, self.landmarks, self.free if free is None else free, self.no_frames
        )

    @cached_property
    def evened(self):
        return self.retouched()

    def places(self):
        """Points all over the skin."""
        reach = 2 * round(0.03 * self.width) + 1
        skin = (
            cv2.erode(skin_retouching.skin_mask(light.to_lab(self.image), self.landmarks), np.ones((reach, reach)))
            > 0.9
        )
        every = np.arange(0, max(self.size), 0.07 * self.width).astype(int)
        return [(x, y) for x, y in product(every, every) if y < self.size[0] and x < self.size[1] and skin[y, x]]

    def roughness(self, place):
        """Standard deviation of the lightness around."""
        near = np.zeros(self.size, np.uint8)
        cv2.circle(near, tuple(map(int, place)), round(0.06 * self.width), 1, -1)
        return lightness(cv2.GaussianBlur(self.image, (0, 0), max(0.006 * self.width, 0.5)))[near > 0].std()

    def share_left(self, place, color=(12, 22, 22)):
        """How much of a spot's contrast with the skin around it retouching leaves."""
        spot = np.zeros(self.size, np.float32)
        cv2.circle(spot, tuple(map(int, place)), round(0.018 * self.width), 1.0, -1)
        spot = cv2.GaussianBlur(spot, (0, 0), 0.006 * self.width)
        inside = spot > 0.5 * spot.max()
        within, beyond = (
            cv2.dilate(inside.astype(np.uint8), np.ones((2 * round(share * self.width) + 1,) * 2)) > 0
            for share in (0.01, 0.02)
        )
        spotted = Subject((self.image - spot[..., None] * color).clip(0, 255).astype(np.uint8), self.landmarks)

        def contrast(with_spot, without):
            difference = light.to_lab(with_spot) - light.to_lab(without)
            return np.linalg.norm(difference[inside].mean(axis=0) - difference[beyond & ~within].mean(axis=0))

        return contrast(spotted.retouched(), self.evened) / contrast(spotted.image, self.image)

    def sharpened(self, image):
        shown = FaceView(self.image, self.landmarks, self.no_frames)
        return sharpen.sharpen(image, self.landmarks, shown, self.free, self.no_frames)

    def made_up(self, other, ratio, free=None):
        worn = FaceView(other.image, other.landmarks, other.frames)
        allowed = self.free if free is None else free
        return makeup.transfer_makeup(self.image, self.landmarks, worn, ratio, allowed, self.frames)


@pytest.fixture(scope="module")
def subjects(engine):
    found = {}
    for name in SOURCES:
        image = getattr(pictures, name)()
        found[name] = Subject(image, engine.detect(image)[-1].landmarks)
    return found


@pytest.fixture(scope="module", params=SOURCES)
def subject(request, subjects):
    return subjects[request.param]


def apart(one, other):
    return np.abs(one.astype(int) - other).max(axis=-1)


def lightness(image):
    return light.to_lab(image)[..., 0]


class TestTheGuidedFilter:
    def test_a_step_stays_and_noise_goes(self):
        noise = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
        step = np.where(np.arange(64) < 32, 20, 80).astype(np.float32)[None, :]
        smooth = guided_filter(step + noise, step + noise, 6, 5)
        assert smooth[:, :24].std() < 0.4 * noise.std()
        assert smooth[:, 33].mean() - smooth[:, 30].mean() > 55

    def test_a_flat_plane_stays_flat(self):
        flat = np.full((20, 30), 37.5, np.float32)
        assert np.allclose(guided_filter(flat, flat, 4, 2), flat, atol=1e-4)


class TestRetouching:
    def test_only_skin_changes(self, subject):
        changed = apart(subject.retouched(), subject.image)
        protected = [
            region(subject.landmarks, subject.size, 0, 0.001) > 0.5 for region in (masks.eyes, masks.lips, masks.mouth)
        ]
        outside = masks.face(subject.landmarks, subject.size, 0, 0.001) < 0.01
        assert changed[~outside].any()
        assert not changed[np.logical_or.reduce(protected)].any()
        assert not changed[outside].any()

    def test_without_evening_only_spots_go(self, subject):
        bare = skin_retouching.retouch_skin(subject.image, subject.landmarks, subject.free, subject.no_frames, 0.0)
        changed = apart(bare, subject.image)
        assert 0 < changed.mean() < 0.6 * apart(subject.retouched(), subject.image).mean()

    def test_blotches_go_and_pores_stay(self, subject):
        before, after = lightness(subject.image), lightness(subject.retouched())
        lab, points = light.to_lab(subject.image), subject.landmarks
        skin = skin_retouching.skin_mask(lab, points) > 0.9
        pore, blotch = max(skin_retouching.PORES * subject.width, 0.5), 0.03 * subject.width

        def bands(plane):
            low = cv2.GaussianBlur(plane, (0, 0), pore)
            return (plane - low)[skin].std(), (low - cv2.GaussianBlur(plane, (0, 0), blotch))[skin].std()

        (fine_before, rough_before), (fine_after, rough_after) = bands(before), bands(after)
        assert rough_after < 0.9 * rough_before
        if subject.width > 150:  # of a smaller face, pores are finer than pixels and their levels
            assert fine_after > 0.9 * fine_before

    def test_blemishes_fade_wherever_they_are(self, subject):
        faded = np.array([subject.share_left(place) for place in subject.places()])
        even = np.array([subject.roughness(place) < 3 for place in subject.places()])
        assert len(faded) > 20
        assert (faded[even] < 0.6).all()
        # landmarks moved by a pixel give medians of 0.67 to 0.73 and shares of 0.87 to 0.97
        assert np.median(faded) < 0.75
        assert (faded < 0.9).mean() > 0.85

    def test_a_mole_stays(self, subjects):
        subject = subjects["astronaut"]
        even = [place for place in subject.places() if subject.roughness(place) < 3]
        assert all(subject.share_left(place, (90, 90, 90)) > 0.65 for place in even)

    def test_a_scar_stays(self, subjects):
        subject = subjects["hopper"]
        line = np.zeros(subject.size, np.float32)
        aside = np.array([0.12 * subject.width, 0])
        ends = [tuple(np.round(subject.landmarks[index] - aside).astype(int).tolist()) for index in (31, 48)]
        cv2.line(line, *ends, 1.0, 2)
        scarred = (subject.image - line[..., None] * (40, 50, 50)).clip(0, 255).astype(np.uint8)
        left = apart(Subject(scarred, subject.landmarks).retouched(), subject.retouched())[line > 0.5].mean()
        assert left > 0.75 * apart(scarred, subject.image)[line > 0.5].mean()

    def test_it_stays_a_photograph(self, subject):
        assert apart(subject.retouched(), subject.image).max() < 40
        assert np.abs(lightness(subject.retouched()) - lightness(subject.image)).mean() < 1

    def test_nothing_changes_where_it_may_not(self, subject):
        assert np.array_equal(subject.retouched(subject.no_frames), subject.image)

    def test_a_face_outside_of_the_picture_is_no_error(self, subject):
        away = subject.landmarks + 10_000
        assert np.array_equal(
            skin_retouching.retouch_skin(subject.image, away, subject.free, subject.no_frames), subject.image
        )


class TestSharpening:
    def blurred(self, subject):
        return cv2.GaussianBlur(subject.image, (0, 0), max(0.006 * subject.width, 0.7))

    def test_a_face_as_sharp_as_the_template_is_left_bit_for_bit(self, subject):
        assert np.array_equal(subject.sharpened(subject.image), subject.image)

    def test_a_soft_face_comes_nearer_to_the_template_and_not_beyond(self, subject):
        soft = self.blurred(subject)
        clear = subject.free
        wanted, before, after = (
            sharpen.FaceDetail.of(FaceCrop.whole(image, subject.landmarks)).strengths(clear)
            for image in (subject.image, soft, subject.sharpened(soft))
        )
        seen = wanted[:, 1] > 0
        assert (before[seen, 1] < 0.99 * wanted[seen, 1]).all()
        assert after[1, 1] > 1.08 * before[1, 1]
        assert (after[seen] <= 1.02 * wanted[seen]).all()

    def test_the_features_come_nearer_to_what_they_were(self, subject):
        soft = self.blurred(subject)
        features = masks.features(subject.landmarks, subject.size) > 0.5
        error = [
            np.abs(lightness(one) - lightness(subject.image))[features].mean()
            for one in (soft, subject.sharpened(soft))
        ]
        assert error[1] < 0.9 * error[0]

    def test_nothing_outside_of_the_face_changes(self, subject):
        soft = self.blurred(subject)
        outside = masks.face(subject.landmarks, subject.size) == 0
        assert not apart(subject.sharpened(soft), soft)[outside].any()

    def test_no_halos(self, subject):
        soft = lightness(self.blurred(subject))
        sharp = lightness(subject.sharpened(self.blurred(subject)))
        side = 2 * max(1, round(sharpen.NEIGHBORHOOD * subject.width)) + 1
        highest, lowest = cv2.dilate(soft, np.ones((side, side))), cv2.erode(soft, np.ones((side, side)))
        room = (sharpen.OVERSHOOT + 0.02) * (highest - lowest) + 1
        assert (sharp <= highest + room).all()
        assert (sharp >= lowest - room).all()


class TestMakeUp:
    RATIOS = (0.0, 0.25, 0.5, 0.75, 1.0)

    def test_ratio_0_is_the_portrait_bit_for_bit(self, subject, subjects):
        assert np.array_equal(subject.made_up(subjects["group"], 0.0), subject.image)

    def test_a_face_made_up_as_itself_stays_the_same(self, subject):
        assert apart(subject.made_up(subject, 1.0), subject.image).max() <= 1

    def test_more_changes_step_by_step(self, subjects):
        subject, other = subjects["astronaut"], subjects["group"]
        amounts = [apart(subject.made_up(other, ratio), subject.image).sum() for ratio in self.RATIOS]
        assert all(less < more for less, more in pairwise(amounts))

    def test_lips_get_the_others_color_relative_to_the_skin(self, subjects):
        subject, other = subjects["astronaut"], subjects["group"]
        done = Subject(subject.made_up(other, 1.0), subject.landmarks)
        own, wanted, made = (
            makeup.measure_makeup(FaceCrop.whole(one.image, one.landmarks), one.frames)[1][0]
            for one in (subject, other, done)
        )
        assert np.abs(wanted - own)[1:].max() > 5
        assert np.abs(wanted - made)[1:].sum() < 0.5 * np.abs(wanted - own)[1:].sum()

    def test_lips_that_are_pale_already_do_not_turn_blue(self, subjects):
        subject = subjects["astronaut"]
        rouged = Subject(subject.image.copy(), subject.landmarks)
        half = masks.lips(subject.landmarks, subject.size, 0, 0.001) > 0.5
        half[:, : int(subject.landmarks[57, 0])] = False
        rouged.image[half] = (rouged.image[half] * (1.0, 0.5, 0.5)).astype(np.uint8)
        made = light.to_lab(rouged.made_up(subject, 1.0))
        pale = (masks.lips(subject.landmarks, subject.size, -0.01, 0.001) > 0.9) & ~half
        assert (made[pale][:, 1] >= light.to_lab(subject.image)[pale][:, 1].min() - 1).all()

    def test_only_lips_lids_and_cheeks_change(self, subjects):
        subject = subjects["astronaut"]
        changed = apart(subject.made_up(subjects["group"], 1.0), subject.image) > 0
        places = np.max([region.where for region in makeup.makeup_regions(subject.landmarks, subject.size)], axis=0)
        assert changed[places > 0.9].mean() > 0.7
        assert not changed[places == 0].any()
        assert not changed[masks.mouth(subject.landmarks, subject.size, -0.02, 0.001) > 0.99].any()
        assert not changed[masks.face(subject.landmarks, subject.size, -0.02, 0.001) == 0].any()

    def test_nothing_changes_where_it_may_not(self, subjects):
        subject = subjects["astronaut"]
        assert np.array_equal(subject.made_up(subjects["group"], 1.0, subject.no_frames), subject.image)
