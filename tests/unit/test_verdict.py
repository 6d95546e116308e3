"""A photo's verdict, and whom most photos show."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from shared.errors import PhotoUnavailable
from shared.faces import Box, Face, FaceError
from shared.photos.assessment import STRANGER, USABLE, PhotoAssessment, count_usable, inspect_photo, same_person
from shared.photos.identity_clustering import find_majority
from shared.settings import Limits
from tests import pictures

LIMITS = Limits()


class Faulty:
    """A face engine that fails where it is told to."""

    name, same_person = "faulty", 1.0

    def __init__(self, finds=True, embeds=True):
        self.finds, self.embeds = finds, embeds

    def detect(self, image):
        if not self.finds:
            raise FaceError("the detector is out of order")
        y, x = np.mgrid[100:200:8j, 100:200:9j]
        return [Face(Box(100, 100, 200, 200), np.dstack([x, y]).reshape(-1, 2)[:68], 1.0)]

    def embed(self, image, face):
        if not self.embeds:
            raise FaceError("no vector")
        return np.zeros(2)

    def distance(self, a, b):
        return float(np.linalg.norm(a - b))


def people(*vectors):
    """Return usable verdicts at these positions on a line, where a distance below 1 means the same person."""
    return [PhotoAssessment(USABLE, embedding=np.array([float(vector), 0.0]), quality=0.5) for vector in vectors]


def codes(*vectors):
    return [verdict.code for verdict in same_person(people(*vectors), Faulty())]


def test_a_portrait_is_usable(engine):
    verdict = inspect_photo(pictures.jpeg(pictures.hopper()), engine, LIMITS)
    assert (verdict.code, verdict.message, verdict.frontal, verdict.warnings) == (1, "success", True, [])
    assert (verdict.width, verdict.height) == (512, 600)
    assert verdict.quality > 0.6


def test_a_photo_that_was_not_fetched_says_why(engine):
    verdict = inspect_photo(PhotoUnavailable("a.jpg is not there"), engine, LIMITS)
    assert (verdict.code, verdict.message, verdict.warnings) == (2, "Image decode error", ["a.jpg is not there"])


def test_a_broken_photo_says_why(engine):
    verdict = inspect_photo(pictures.jpeg(pictures.hopper())[:9000], engine, LIMITS)
    assert verdict.code == 2
    assert "it is cut off" in verdict.warnings[0]


def test_a_photo_of_nobody_and_a_photo_of_six_are_code_3(engine):
    nobody = inspect_photo(pictures.png(pictures.coffee()), engine, LIMITS)
    six = inspect_photo(pictures.jpeg(pictures.group()), engine, LIMITS)
    assert (nobody.code, nobody.message, nobody.warnings) == (3, "Number of face is not 1", ["no face was found"])
    assert (six.code, six.warnings) == (3, ["6 faces were found"])


@pytest.mark.parametrize(
    "part",
    [
        *(np.s_[:, 200:], np.s_[:, 210:], np.s_[:, :340], np.s_[:, :300]),  # left and right
        *(np.s_[175:], np.s_[190:], np.s_[:320], np.s_[:300]),  # above and below
    ],
)
def test_a_face_that_the_border_cuts_off_is_refused(engine, part):
    verdict = inspect_photo(pictures.png(np.ascontiguousarray(pictures.hopper()[part])), engine, LIMITS)
    assert verdict.code == 3
    assert verdict.warnings == ["the face is cut off by the border"]


@pytest.mark.parametrize("part", [np.s_[:, 240:], np.s_[:270]])
def test_half_a_face_is_no_whole_one(engine, part):
    verdict = inspect_photo(pictures.png(np.ascontiguousarray(pictures.hopper()[part])), engine, LIMITS)
    assert (verdict.code, verdict.embedding) == (3, None)


def test_a_face_that_just_fits_is_whole(engine):
    assert inspect_photo(pictures.png(np.ascontiguousarray(pictures.hopper()[140:340, 150:375])), engine, LIMITS).usable


def test_a_photo_that_lies_on_its_side_gets_a_hint(engine):
    lying = cv2.rotate(pictures.hopper(), cv2.ROTATE_90_CLOCKWISE)
    verdict = inspect_photo(pictures.jpeg(lying), engine, LIMITS)
    assert any("counter-clockwise" in one for one in verdict.warnings)
    assert not verdict.frontal


def test_an_engine_that_fails_is_code_4_or_5():
    photo = pictures.jpeg(pictures.hopper())
    undetected, unencoded = (
        inspect_photo(photo, engine, LIMITS) for engine in (Faulty(finds=False), Faulty(embeds=False))
    )
    assert (undetected.code, undetected.message) == (4, "Image detect error")
    assert undetected.warnings == ["the detector is out of order"]
    assert (unencoded.code, unencoded.message) == (5, "Image encoding error")
    assert unencoded.face is not None


def test_small_blurred_and_dark_photos_are_usable_with_a_warning(engine):
    image = pictures.hopper()
    small = inspect_photo(
        pictures.png(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)), engine, LIMITS
    )
    assert "smaller than 512 x 512" in small.warnings
    assert any("pixels wide" in warning for warning in small.warnings)
    blurred = inspect_photo(pictures.png(cv2.GaussianBlur(image, (0, 0), 5)), engine, LIMITS)
    assert "the face is blurred" in blurred.warnings
    dark = inspect_photo(pictures.png((image * 0.25).astype(np.uint8)), engine, LIMITS)
    assert "the face is too dark" in dark.warnings
    assert {small.code, blurred.code, dark.code} == {1}


def test_quality_ranks_a_good_photo_before_the_same_photo_spoiled(engine):
    image = pictures.hopper()
    spoiled = [
        cv2.GaussianBlur(image, (0, 0), 3),
        cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
        (image * 0.3).astype(np.uint8),
    ]
    good = inspect_photo(pictures.png(image), engine, LIMITS).quality
    assert all(inspect_photo(pictures.png(other), engine, LIMITS).quality < 0.8 * good for other in spoiled)


def test_a_verdict_keeps_no_pixels(engine):
    verdict = inspect_photo(pictures.jpeg(pictures.hopper()), engine, LIMITS)
    assert verdict.face.landmarks.base is None or verdict.face.landmarks.base.size < 1000
    assert verdict.embedding.base is None or verdict.embedding.base.size < 1000


def test_a_stranger_among_five_is_named():
    assert codes(0, 0.1, 5, 0.2, 0.3) == [1, 1, 6, 1, 1]


def test_two_strangers_among_six_are_named():
    assert codes(0, 0.1, 0.2, 5, 5.1, 0.3) == [1, 1, 1, 6, 6, 1]
    assert codes(0, 0.1, 0.2, 5, 9, 0.3) == [1, 1, 1, 6, 6, 1]


def test_a_fair_tie_blames_everybody_and_says_so():
    verdicts = same_person(people(0, 0.1, 5, 5.1), Faulty())
    assert [verdict.code for verdict in verdicts] == [STRANGER] * 4
    assert all("a tie" in verdict.warnings[0] for verdict in verdicts)
    assert {verdict.similarity for verdict in verdicts} == {None}


def test_a_photo_that_came_twice_has_one_vote():
    verdicts = same_person(people(0, 0.1, 5, 5, 5, 0.2), Faulty())
    assert [verdict.code for verdict in verdicts] == [1, 1, 6, 6, 6, 1]
    assert verdicts[3].warnings == ["the same photo as number 3: the two count once"]
    assert verdicts[2].warnings == []


def test_a_copy_does_not_vouch_for_its_original():
    here, copy, there = same_person(people(0, 0, 0.6), Faulty())
    assert here.similarity == copy.similarity == there.similarity == pytest.approx(1 - 0.6 / 2)


def test_one_photo_sent_twice_is_compared_with_nothing():
    verdicts = same_person(people(3, 3), Faulty())
    assert [(verdict.code, verdict.similarity) for verdict in verdicts] == [(1, None)] * 2
    assert "count once" in verdicts[1].warnings[0]


def face(x, y, side):
    return Face(Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2), np.zeros((68, 2)), 1.0)


def test_every_face_counts_unless_a_setting_says_otherwise():
    main, passer = face(300, 300, 200), face(800, 300, 40)
    assert count_usable([main, passer], 0.0) == ([main, passer], 0)
    assert count_usable([main, passer], 0.25) == ([main], 1)
    assert count_usable([], 0.25) == ([], 0)


@pytest.mark.parametrize("other", [face(450, 300, 40), face(800, 300, 90)])
def test_a_near_face_and_a_large_face_always_count(other):
    main = face(300, 300, 200)
    assert count_usable([main, other], 0.25) == ([main, other], 0)


def test_a_small_face_in_the_back_is_ignored_by_setting_only(engine):
    image = cv2.resize(pictures.hopper(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    passer = cv2.resize(pictures.astronaut()[20:220, 110:310], (200, 200))
    image = np.concatenate([image, np.full((image.shape[0], 500, 3), 128, np.uint8)], axis=1)
    image[100:300, -300:-100] = passer
    strict = inspect_photo(pictures.png(image), engine, LIMITS)
    lenient = inspect_photo(pictures.png(image), engine, LIMITS, ignored_face=0.4)
    assert (strict.code, strict.warnings) == (3, ["2 faces were found"])
    assert (lenient.code, lenient.warnings) == (1, ["1 much smaller faces far from the main one were ignored"])


def test_photos_of_all_different_people_say_so():
    assert all("no two photos" in verdict.warnings[0] for verdict in same_person(people(0, 5, 10), Faulty()))


def test_one_usable_photo_is_compared_with_nothing():
    (alone, refused) = same_person([*people(0), PhotoAssessment(3)], Faulty())
    assert (alone.code, alone.similarity, refused.code) == (1, None, 3)


def test_unusable_photos_have_no_vote():
    verdicts = [*people(0, 0.1), replace(people(5)[0], code=3), *people(5.1)]
    assert [verdict.code for verdict in same_person(verdicts, Faulty())] == [1, 1, 3, 6]


def test_a_photo_does_not_vouch_for_itself():
    here, there = same_person(people(0, 0.6), Faulty())
    assert here.similarity == there.similarity == pytest.approx(1 - 0.6 / 2)


def test_a_relative_who_resembles_one_photo_stays_apart():
    assert codes(0, 0.3, 0.6, 1.4) == [1, 1, 1, 6]


def test_the_order_of_the_photos_does_not_matter():
    places = np.random.default_rng(5).normal(size=(12, 1)) * 1.5
    apart = np.abs(places - places.T)
    shuffle = np.random.default_rng(6).permutation(12)
    before, after = find_majority(apart, 1.0), find_majority(apart[np.ix_(shuffle, shuffle)], 1.0)
    assert {int(shuffle[row]) for row in after.members} == set(before.members)
