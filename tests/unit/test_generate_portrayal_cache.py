"""The cache of users' photos: by file and record, bounded, and gone with the user."""

from dataclasses import replace

import numpy as np
import pytest

from functions.generate import person
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.occlusion.network import OccluderNetwork
from functions.generate.portrayal_cache import KnownPhoto, PortrayalCache, identify
from shared.contract import keys
from shared.errors import UnknownUser
from shared.faces.loading import load_engine
from shared.models.expiring_cache import SECONDS
from shared.settings import FaceSettings, Limits
from tests import pictures
from tests.clock import Clock
from tests.fake_workspace import FakeWorkspace
from tests.trained_users import make_trained_user


def shown(name="a", side=10):
    return ReferencePhoto(np.zeros((side, side, 3), np.uint8), np.zeros((68, 2)), name=name)


def kept(cache, user_id="ann", photo=None):
    """Whether the cache has a user; puts the photo into it before, if there is one."""
    if photo is not None:
        cache.keep(user_id, {b"1": KnownPhoto(photo)})
    found = cache.take(user_id)
    cache.keep(user_id, found)
    return bool(found)


class Look:
    """Looks at photos closely, and counts."""

    def __init__(self):
        self.count = 0

    def __call__(self, photo):
        self.count += 1
        return replace(photo, mesh=np.zeros((478, 3)))


def test_a_photo_and_its_mirror_image_are_looked_at_once():
    cache, look, photo = PortrayalCache(), Look(), shown()
    kept(cache, "ann", photo)
    mirrored = replace(photo, landmarks=photo.landmarks + 1)
    seen = [cache.look_closely("ann", one, look) for one in (photo, mirrored, photo, mirrored)]
    assert look.count == 2
    assert seen[0] is seen[2]
    assert seen[1] is seen[3]
    assert seen[1].landmarks[0, 0] == 1


@pytest.mark.parametrize("user_id", [None, "bob"])
def test_who_is_not_in_the_cache_is_looked_at_each_time(user_id):
    cache, look, photo = PortrayalCache(), Look(), shown()
    kept(cache, "ann", photo)
    assert cache.look_closely(user_id, photo, look).mesh is not None
    cache.look_closely(user_id, photo, look)
    assert look.count == 2


def test_a_new_face_vector_of_the_person_is_looked_at_anew():
    cache, look, photo = PortrayalCache(), Look(), shown()
    kept(cache, "ann", photo)
    cache.look_closely("ann", photo, look)
    seen = cache.look_closely("ann", replace(photo, identity=np.ones(4)), look)
    assert seen.identity is not None


def test_users_go_with_their_record_and_after_a_while():
    clock = Clock()
    cache = PortrayalCache(clock=clock)
    for user_id in ("ann", "bob"):
        kept(cache, user_id, shown())
    cache.evict(lambda key: key != keys.model("ann"))
    assert not kept(cache, "ann")
    assert kept(cache, "bob")
    clock.now += SECONDS + 1
    cache.evict(lambda key: True)
    assert not kept(cache, "bob")


def test_more_photos_than_fit_push_the_oldest_out():
    photo = shown(side=100)
    size = KnownPhoto(photo).size
    cache = PortrayalCache(bytes_kept=2 * size)
    for user_id in ("ann", "bob", "cleo"):
        kept(cache, user_id, photo)
    assert not kept(cache, "ann")
    assert kept(cache, "bob")
    cache.look_closely("cleo", photo, Look())  # its close look needs the room that bob's photo has
    assert not kept(cache, "bob")
    assert kept(cache, "cleo")


def test_another_file_or_record_is_another_photo():
    assert len({identify(b"file", "record"), identify(b"fil", "record"), identify(b"file", "records")}) == 3


@pytest.fixture(scope="module")
def tools():
    settings = FaceSettings(provider="cpu")
    return load_engine(settings), OccluderNetwork(settings)


class TestReadingAPerson:
    @pytest.fixture
    def objects(self, tools):
        return make_trained_user("ann", pictures.variations(pictures.hopper(), 3), tools[0], b"", "portrait-tiny")

    @staticmethod
    def read(objects, tools, cache):
        return person.load_person("ann", FakeWorkspace(objects), tools[0], Limits(), tools[1], cache).portrayals

    def test_photos_are_decoded_once_until_one_is_replaced(self, objects, tools):
        cache = PortrayalCache()
        first, again = self.read(objects, tools, cache), self.read(objects, tools, cache)
        assert [one.image is two.image for one, two in zip(first, again, strict=True)] == [True] * 3
        objects[first[1].name] = objects[first[0].name]
        changed = self.read(objects, tools, cache)
        assert [one.image is two.image for one, two in zip(first, changed, strict=True)] == [True, False, True]
        assert np.array_equal(changed[1].image, first[0].image)

    def test_a_photo_that_is_gone_is_not_taken_from_the_cache(self, objects, tools):
        cache = PortrayalCache()
        gone = self.read(objects, tools, cache)[2].name
        del objects[gone]
        for _ in range(2):
            with pytest.raises(UnknownUser, match=gone):
                self.read(objects, tools, cache)
        assert not cache.take("ann")
