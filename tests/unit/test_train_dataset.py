"""The selection of a training's photos."""

from io import BytesIO
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from functions.train.dataset import FEWEST, hold_out, prepare_dataset
from shared.errors import PhotoUnavailable, TooFewPhotos
from shared.models.diffusion import ModelProfile
from shared.photos.person_photos import LONGEST_SIDE
from shared.settings import Limits
from tests import color_profiles
from tests.fake_workspace import FakeWorkspace
from tests.pictures import astronaut, coffee, group, hopper, jpeg, variations

WORKING = ModelProfile(size=64, framing=1.75)


@pytest.fixture(scope="module")
def cup():
    return jpeg(coffee()[:200, :200])


@pytest.fixture(scope="module")
def person():
    return {f"{index}.jpg": jpeg(image) for index, image in enumerate(variations(hopper(), 6))}


def prepared(files, engine, working=WORKING):
    return prepare_dataset(
        list(files), FakeWorkspace({name: data for name, data in files.items() if data}), engine, working, Limits()
    )


def test_every_photo_that_cannot_be_used_has_its_reason(engine, person, cup):
    head = np.ascontiguousarray(astronaut()[:300, 90:390])
    files = person | {
        "gone.jpg": b"",
        "broken.jpg": b"no picture",
        "cup.jpg": cup,
        "group.jpg": jpeg(group()),
        "other.jpg": jpeg(head),
    }
    data = prepared(files, engine)
    assert {photo.name for photo in data.photos} == set(person)
    reasons = {one["url"]: one["reason"] for one in data.rejected}
    assert "not there" in reasons["gone.jpg"]
    assert "Image decode error" in reasons["broken.jpg"]
    assert "no face was found" in reasons["cup.jpg"]
    assert "faces were found" in reasons["group.jpg"]
    assert "not the same person" in reasons["other.jpg"]


@pytest.mark.parametrize(("usable", "passing", "retry_after"), [(4, 1, 9), (3, 1, None), (3, 2, 9), (4, 0, None)])
def test_too_few_photos_are_worth_another_try_where_those_that_may_come_are_enough(
    engine, person, cup, usable, passing, retry_after
):
    busy = {f"busy{number}.jpg": PhotoUnavailable("503").retry_in(9 - number) for number in range(passing)}
    files = {name: person[name] for name in list(person)[:usable]} | {"cup.jpg": cup}
    workspace = FakeWorkspace(files, unavailable=busy)
    with pytest.raises(TooFewPhotos) as raised:
        prepare_dataset([*files, "gone.jpg", *busy], workspace, engine, WORKING, Limits())
    assert (raised.value.retryable, raised.value.retry_after) == (retry_after is not None, retry_after)


def test_too_few_usable_photos_is_an_error_that_names_each_reason(engine, person, cup):
    files = {name: person[name] for name in list(person)[: FEWEST - 1]} | {"cup.jpg": cup, "gone.jpg": b""}
    with pytest.raises(TooFewPhotos) as raised:
        prepared(files, engine)
    assert raised.value.field == "images"
    assert raised.value.message.startswith("4 usable photos, 5 are needed")
    assert "cup.jpg: Number of face is not 1: no face was found" in raised.value.message
    assert "gone.jpg" in raised.value.message


def test_a_face_much_smaller_than_the_model_sees_is_rejected(engine, person):
    small = cv2.resize(variations(hopper(), 6)[0], None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    data = prepared(person | {"small.png": jpeg(small)}, engine, ModelProfile(size=512, framing=2.0))
    assert "at least 64 are needed" in {one["url"]: one["reason"] for one in data.rejected}["small.png"]


def test_the_best_twenty_are_taken_best_first(engine):
    small = cv2.resize(hopper(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    files = {f"{index}.jpg": jpeg(image) for index, image in enumerate(variations(small, 22))}
    data = prepared(files, engine)
    qualities = [photo.quality for photo in data.photos]
    assert len(data.photos) == 20
    assert qualities == sorted(qualities, reverse=True)
    assert [one["reason"] for one in data.rejected] == ["usable, but 20 photos are better"] * 2


def test_a_photo_inside_the_request_is_not_repeated_in_the_answer(engine, person):
    data = prepared(person | {"data:image/jpeg;base64," + "A" * 10_000: b"no picture"}, engine)
    assert len(data.rejected[0]["url"]) < 200


def test_photos_inside_the_request_that_begin_alike_are_told_apart_in_the_answer(engine, person):
    urls = ["data:image/jpeg;base64," + "A" * 5000 + end for end in ("AAAA", "BBBB")]
    rejected = prepared(person | dict.fromkeys(urls, b""), engine).rejected
    assert len({one["url"] for one in rejected}) == 2


def test_references_are_the_photos_own_pixels_around_the_face(engine, person):
    photo = prepared(person, engine).photos[0]
    image, face = photo.reference
    assert max(image.shape[:2]) <= LONGEST_SIDE
    found = engine.detect(image)[0]
    assert found.box.center == pytest.approx(face.box.center, abs=0.1 * face.box.width)


@pytest.mark.parametrize(("count", "held"), [(5, 0), (6, 0), (7, 1), (9, 1), (10, 2), (20, 2)])
def test_photos_are_held_out_only_where_there_are_enough(count, held):
    assert len(hold_out([SimpleNamespace(frontal=True)] * count)) == held


def test_the_held_out_are_frontal_and_not_the_best():
    photos = [SimpleNamespace(frontal=index != 5) for index in range(10)]
    assert hold_out(photos) == [6, 7]


def test_photos_in_a_wide_space_are_learned_from_in_the_colors_that_they_show(engine, person):
    """A phone's Display P3 or an editor's ProPhoto would make people pale if their values were taken for sRGB."""
    profile = color_profiles.rgb("ProPhoto")

    def wide(data):
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        stream = BytesIO()
        Pillow.fromarray(color_profiles.in_space(image, profile)).save(stream, "PNG", icc_profile=profile)
        return stream.getvalue()

    usual = {photo.name: photo for photo in prepared(person, engine).photos}
    shown = prepared({name: wide(data) for name, data in person.items()}, engine).photos
    assert {photo.name for photo in shown} == usual.keys()
    for photo in shown:
        one, other = photo.reference[0], usual[photo.name].reference[0]
        assert np.all(np.abs(one.mean(axis=(0, 1)) - other.mean(axis=(0, 1))) < 2)
