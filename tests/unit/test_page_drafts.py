"""The photos of a tab: they become a person's, or go when nobody needs them, with the checks that named them."""

import pytest

from page import texts
from page.drafts import DroppedPhoto
from page.settings import PageSettings
from page.studio import Studio, Taker
from shared.buckets import MemoryBucket
from shared.contract import keys
from shared.contract.manifests import encode, success
from shared.errors import RequestError
from shared.lifecycle.claims import Claims
from shared.operations import disposal
from shared.settings import Lease, Settings
from tests.pictures import hopper, jpeg

FACE = jpeg(hopper()[::4, ::4])
OTHER = jpeg(hopper()[::5, ::5])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(disposal, "READ_SECONDS", 0.0)


@pytest.fixture
def studio():
    return Studio(MemoryBucket(), Settings(), PageSettings())


def listed(studio):
    return [info.key for info in studio.bucket.list("")]


def answer(studio, function, request_id):
    """Answer a request as a worker does."""
    held = Claims(studio.bucket, function, Lease(), "worker").acquire_first(
        request_id, keys.request(function, request_id), ""
    )
    assert held is not None
    studio.bucket.put(keys.result(function, request_id), encode(success(request_id, "success", {})))


def drop(studio, draft, *files):
    """Upload photos as a tab does, and answer their checks."""
    photos = [studio.add_picture("a.jpg", data, draft) for data in files]
    for photo in photos:
        answer(studio, "check", studio.check(draft, [photo]))
    answer(studio, "check", studio.check(draft, photos, same_person=True))
    return photos


def test_photos_that_were_dropped_before_the_name_are_the_persons_and_forgetting_leaves_nothing(studio):
    draft = studio.drafts.begin()
    photos = drop(studio, draft, FACE, OTHER)
    assert all(photo.startswith(keys.draft_photos(draft.name)) for photo in photos)
    own = studio.drafts.adopt(draft, "anna", photos)
    request_id, _ = studio.portray(draft, "templates/t.jpg", [Taker("anna", tuple(own.values()))], {})
    assert sorted(own.values()) == sorted(key for key in listed(studio) if key.startswith(keys.user_photos("anna")))
    studio.drafts.tidy()
    assert sorted(listed(studio)) == sorted([*own.values(), keys.request("generate", request_id)])
    answer(studio, "generate", request_id)
    assert studio.forget("anna").remaining == []
    assert listed(studio) == []
    with pytest.raises(RequestError, match=texts.PHOTO_GONE[:20]):
        studio.drafts.adopt(draft, "anna", list(own.values()))


def test_a_person_of_whom_there_are_only_photos_is_listed_to_be_forgotten(studio):
    draft = studio.drafts.begin()
    own = studio.drafts.adopt(draft, "anna", drop(studio, draft, FACE))
    assert [(one.user_id, one.known, one.photos) for one in studio.people()] == [("anna", False, tuple(own.values()))]
    studio.drafts.end()
    assert studio.forget("anna").remaining == []
    assert (listed(studio), studio.people()) == ([], [])


def test_a_person_who_gets_another_name_takes_the_photos_along(studio):
    draft = studio.drafts.begin()
    anna = studio.drafts.adopt(draft, "anna", drop(studio, draft, FACE))
    ann = studio.drafts.adopt(draft, "ann", list(anna.values()))
    assert [key.split("/")[1] for key in ann.values()] == ["ann"]
    assert studio.drafts.adopt(draft, "ann", list(ann.values())) == {key: key for key in ann.values()}


def test_without_a_name_nothing_but_the_portrait_stays_once_it_is_made_and_the_tab_is_closed(studio):
    draft = studio.drafts.begin()
    photos = drop(studio, draft, FACE)
    request_id, _ = studio.portray(draft, "templates/t.jpg", [Taker(None, tuple(photos))], {})
    studio.drafts.close(draft)
    studio.drafts.tidy()
    assert set(photos) <= set(listed(studio)), "the worker has not fetched them yet"
    answer(studio, "generate", request_id)
    studio.drafts.tidy()
    assert {key.split("/")[2].removesuffix(".json") for key in listed(studio)} == {request_id}


def test_a_photo_that_is_removed_from_the_tab_goes_and_the_others_stay(studio):
    draft = studio.drafts.begin()
    first, second = drop(studio, draft, FACE, OTHER)
    studio.drafts.release(draft, DroppedPhoto("a.jpg", first, "c1"))
    studio.drafts.tidy()
    assert [key for key in listed(studio) if key.startswith(keys.PHOTOS)] == [second]


def test_a_check_that_no_worker_has_begun_goes_with_the_tab_and_one_that_runs_when_it_is_answered(studio):
    draft = studio.drafts.begin()
    waits = studio.check(draft, [studio.add_picture("a.jpg", FACE, draft)])
    runs = studio.check(draft, [studio.add_picture("b.jpg", OTHER, draft)])
    Claims(studio.bucket, "check", Lease(), "worker").acquire_first(runs, keys.request("check", runs), "")
    studio.drafts.end()
    assert keys.request("check", waits) not in listed(studio)
    assert [key.split("/")[0] for key in listed(studio)] == ["claims", "photos", "requests"]
    studio.bucket.put(keys.result("check", runs), encode(success(runs, "success", {})))
    studio.drafts.tidy()
    assert listed(studio) == []


def test_a_photo_that_arrives_after_its_tab_was_closed_goes_too(studio):
    draft = studio.drafts.begin()
    studio.drafts.end()
    photo = studio.add_picture("a.jpg", FACE, draft)
    studio.check(draft, [photo])
    studio.drafts.tidy()
    assert listed(studio) == []


def test_a_check_whose_answer_was_overwritten_goes_with_the_rest(studio):
    draft = studio.drafts.begin()
    (photo,) = drop(studio, draft, FACE)
    for info in list(studio.bucket.list(keys.results("check"))):
        studio.bucket.put(info.key, b"not JSON")
    studio.drafts.close(draft)
    studio.drafts.tidy()
    assert listed(studio) == []
    assert photo.startswith(keys.PHOTOS)


def test_the_same_photo_in_two_tabs_is_two_photos(studio):
    one, other = studio.drafts.begin(), studio.drafts.begin()
    kept = studio.add_picture("a.jpg", FACE, one)
    studio.add_picture("a.jpg", FACE, other)
    studio.drafts.close(other)
    studio.drafts.tidy()
    assert listed(studio) == [kept]


def show(draft, studio, data):
    key = studio.add_picture("a.jpg", data, draft)
    draft.shown.append(DroppedPhoto("a.jpg", key, studio.check(draft, [key])))
    return draft.shown[-1]


def test_a_tab_that_is_loaded_anew_has_its_photos_again_and_they_go_when_it_is_closed(studio):
    earlier = studio.drafts.begin()
    studio.drafts.resume(earlier, "tab")
    first, second = show(earlier, studio, FACE), show(earlier, studio, OTHER)
    stranger = studio.drafts.begin()
    assert studio.drafts.resume(stranger, "other") == []
    draft = studio.drafts.begin()
    again = show(draft, studio, OTHER)
    assert studio.drafts.resume(draft, "tab") == [first]
    assert draft.shown == [again, first]
    assert studio.drafts.resume(draft, "tab") == [], "a connection that comes back changes nothing"
    studio.drafts.close(earlier)
    studio.drafts.tidy()
    assert {first.key, second.key, again.key} <= set(listed(studio))
    studio.drafts.close(draft)
    studio.drafts.tidy()
    assert listed(studio) == []


def test_a_photo_that_is_the_persons_already_is_shown_again_but_stays_when_the_tab_is_closed(studio):
    earlier = studio.drafts.begin()
    studio.drafts.resume(earlier, "tab")
    photo = show(earlier, studio, FACE)
    answer(studio, "check", photo.request_id)
    photo.key = studio.drafts.adopt(earlier, "anna", [photo.key])[photo.key]
    draft = studio.drafts.begin()
    assert studio.drafts.resume(draft, "tab") == [photo]
    studio.drafts.close(draft)
    studio.drafts.tidy()
    assert listed(studio) == [photo.key]


def test_a_tab_without_a_name_takes_over_nothing_and_a_photo_of_it_stays(studio):
    """A client that is no browser may send no name, as others that are not connected yet have none."""
    other, nameless = studio.drafts.begin(), studio.drafts.begin()
    photo = show(other, studio, FACE)
    assert studio.drafts.resume(nameless, "") == []
    assert studio.drafts.resume(nameless, "") == []
    late = show(other, studio, OTHER)
    studio.drafts.tidy()
    assert {photo.key, late.key} <= set(listed(studio))
    assert other.shown == [photo, late]


def test_a_page_that_comes_back_after_it_was_loaded_anew_has_its_photos_again_and_they_stay(studio):
    """A browser may keep a page that was left, and show it again by its button to go back."""
    left, anew = studio.drafts.begin(), studio.drafts.begin()
    studio.drafts.resume(left, "tab")
    photo = show(left, studio, FACE)
    assert studio.drafts.resume(anew, "tab") == [photo]
    studio.drafts.release(left, photo)
    assert studio.drafts.resume(left, "tab") == [photo]
    studio.drafts.close(anew)
    late = show(left, studio, OTHER)
    studio.drafts.tidy()
    assert {photo.key, late.key} <= set(listed(studio))
