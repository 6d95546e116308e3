"""The cache of judged references: by content, bounded, and gone with the answers that they were judged for."""

import numpy as np
import pytest

from functions.generate.reference_cache import BYTES, PHOTOS, SOURCES, ReferenceCache
from shared.faces.base import Box, Face
from shared.models.expiring_cache import SECONDS
from shared.photos.assessment import NOT_ONE_FACE, USABLE, PhotoAssessment
from shared.photos.person_photos import JudgedPhoto
from tests.clock import Clock

FACE = Face(Box(0, 0, 9, 9), np.zeros((68, 2)), 1.0)


class Judge:
    """Says of each photo that it is usable, with a close-up of so many bytes, and counts."""

    def __init__(self, size: int = 300, usable: bool = True) -> None:
        self.judged: list[bytes] = []
        self._size, self._usable = size, usable

    def __call__(self, data: bytes) -> JudgedPhoto:
        self.judged.append(data)
        if not self._usable:
            return JudgedPhoto(PhotoAssessment(NOT_ONE_FACE))
        return JudgedPhoto(PhotoAssessment(USABLE), (np.zeros((1, self._size // 3, 3), np.uint8), FACE))


@pytest.fixture
def judge():
    return Judge()


def test_a_photo_is_judged_once_whichever_request_has_it(judge):
    cache = ReferenceCache()
    verdicts = [cache.judge(b"photo", f"answer {number}", judge) for number in range(SOURCES)]
    assert judge.judged == [b"photo"]
    assert len(set(map(id, verdicts))) == 1


def test_another_byte_is_another_photo(judge):
    cache = ReferenceCache()
    for data in (b"photo", b"photo.", b"phot"):
        cache.judge(data, "answer", judge)
    assert len(judge.judged) == 3


def test_what_cannot_be_used_is_judged_each_time():
    cache, judge = ReferenceCache(), Judge(usable=False)
    for _ in range(2):
        cache.judge(b"photo", "answer", judge)
    assert len(judge.judged) == 2


@pytest.mark.parametrize("gone", ["answer 1", "answer 2"])
def test_a_photo_is_dropped_with_any_of_the_answers_that_it_was_used_for(judge, gone):
    cache = ReferenceCache()
    for number in (1, 2):
        cache.judge(b"photo", f"answer {number}", judge)
    cache.judge(b"another", "answer 3", judge)
    asked = []
    cache.evict(lambda key: asked.append(key) or key != gone)
    assert sorted(asked) == ["answer 1", "answer 2", "answer 3"], "each answer is looked up once"
    cache.judge(b"photo", "answer 4", judge)
    cache.judge(b"another", "answer 4", judge)
    assert judge.judged == [b"photo", b"another", b"photo"]


def test_a_request_with_the_id_of_one_that_is_gone_drops_what_came_with_that_one(judge):
    cache = ReferenceCache()
    cache.judge(b"photo", "answer 1", judge)
    cache.judge(b"another", "answer 2", judge)
    cache.drop("answer 1")
    cache.evict(lambda key: True)
    for data in (b"photo", b"another"):
        cache.judge(data, "answer 3", judge)
    assert judge.judged == [b"photo", b"another", b"photo"]


def test_a_photo_is_judged_anew_rather_than_looked_up_for_ever_more_answers(judge):
    cache = ReferenceCache()
    for number in range(SOURCES + 1):
        cache.judge(b"photo", f"answer {number}", judge)
    assert len(judge.judged) == 2
    asked = []
    cache.evict(lambda key: not asked.append(key))
    assert asked == [f"answer {SOURCES}"]


def test_the_number_of_photos_is_bounded(judge):
    cache = ReferenceCache()
    for number in range(PHOTOS + 1):
        cache.judge(b"%d" % number, "answer", judge)
    cache.judge(b"0", "answer", judge)
    assert len(judge.judged) == PHOTOS + 2, "the one not used for longest was dropped"
    cache.judge(b"2", "answer", judge)
    assert len(judge.judged) == PHOTOS + 2


def test_the_memory_of_all_close_ups_is_bounded_and_the_last_one_stays_however_large_it_is():
    cache, judge = ReferenceCache(bytes_kept=1000), Judge(600)
    for data in (b"a", b"b", b"b", b"a"):
        cache.judge(data, "answer", judge)
    assert judge.judged == [b"a", b"b", b"a"]
    huge = Judge(9000)
    for _ in range(2):
        cache.judge(b"huge", "answer", huge)
    assert huge.judged == [b"huge"]
    assert BYTES == 256 * 2**20


def test_no_photo_is_kept_for_more_than_ten_minutes_without_use(judge):
    clock = Clock()
    cache = ReferenceCache(clock=clock)
    cache.judge(b"photo", "answer", judge)
    clock.now += SECONDS
    assert SECONDS == 600
    cache.evict(lambda key: True)
    assert not list(cache._entries)
