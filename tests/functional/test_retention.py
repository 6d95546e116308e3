"""Retention: old things go, what somebody needs stays, and no request is lost or run twice."""

import json
import os

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket, MemoryBucket
from shared.buckets.base import BucketError, UnreadableFolder
from shared.cli import app
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.operations.retention import KINDS, Retention
from shared.operations.uploads import store_photo
from shared.settings import RetentionSettings
from tests.echo import QUICK
from tests.functional.test_forgetting import generate, serve, train

DAY = 86_400.0
YEAR = dict.fromkeys(("photos", "requests", "results", "notifications"), 365 * DAY)


class Clock:
    """A wall clock that is ahead of the store's by some days."""

    def __init__(self, bucket) -> None:
        self._bucket, self.days = bucket, 0.0

    def __call__(self) -> float:
        return max((info.modified for info in self._bucket.list("")), default=0.0) + self.days * DAY


@pytest.fixture(params=["memory", "folder"])
def bucket(request, tmp_path):
    made = MemoryBucket() if request.param == "memory" else FolderBucket(tmp_path / "bucket")
    for name in ("ann.jpg", "c.jpg", "waits.jpg", "loose.jpg"):
        made.put(f"photos/{name}", b"photo")
    made.put("templates/t.png", b"template")
    return made


def pruned(bucket, seconds, days):
    clock = Clock(bucket)
    clock.days = days
    retention = Retention(bucket, {}, clock, no_wait)
    found = retention.find(seconds)
    outcome = retention.remove(found)
    assert set(outcome.values()) <= {None}
    return found


def no_wait(seconds: float) -> None:
    """Sleep for no time."""


def names(bucket) -> set[str]:
    return {info.key for info in bucket.list("")}


def test_photos_that_were_uploaded_for_a_person_are_photos_and_no_records(bucket):
    for name in ("old", "waits"):
        bucket.put(f"users/ann/photos/{name}.jpg", b"photo")
    Client(bucket).submit("check", {"request_id": "c", "images": ["users/ann/photos/waits.jpg"]})
    found = pruned(bucket, {"photos": 365 * DAY}, days=366)
    assert found.objects.get("users/ann/photos/old.jpg") == "photos"
    assert "users/ann/photos/waits.jpg" in names(bucket), "a request that waits needs it"
    assert not found.faults


def test_what_is_old_goes_and_what_is_young_stays(bucket):
    serve(bucket, "check", {"request_id": "c", "images": ["photos/c.jpg"]})
    before = names(bucket)
    assert pruned(bucket, YEAR, days=364).objects == {}
    assert names(bucket) == before
    pruned(bucket, YEAR, days=366)
    assert names(bucket) == {"templates/t.png"}


def test_what_a_model_needs_stays_and_serves_the_user(bucket):
    serve(bucket, "train", train("t", "ann", "ann.jpg"))
    made = json.loads(bucket.get("users/ann/model.json"))["artifact"]
    serve(bucket, "generate", generate("g", "ann"))
    pruned(bucket, YEAR, days=400)
    assert {made, "requests/train/t.json", "results/train/t/result.json"} <= names(bucket)
    assert not [key for key in names(bucket) if "/generate/" in key or key.startswith("photos/")]
    assert Erasure(bucket, QUICK.lease, wait=lambda seconds: None).forget("ann")
    assert names(bucket) == {"templates/t.png"}, "the person can still be forgotten whole"


def test_an_older_training_of_the_same_person_goes(bucket):
    serve(bucket, "train", train("old", "ann", "ann.jpg"))
    serve(bucket, "train", train("new", "ann", "ann.jpg"))
    pruned(bucket, YEAR, days=400)
    assert {key.split("/")[2] for key in names(bucket) if key.startswith("results/")} == {"new"}


def test_an_unanswered_request_keeps_its_photos_however_old(bucket):
    bucket.put("requests/check/w.json", json.dumps({"request_id": "w", "images": ["photos/waits.jpg"]}).encode())
    pruned(bucket, YEAR, days=4000)
    assert names(bucket) == {"requests/check/w.json", "photos/waits.jpg", "templates/t.png"}


def test_a_manifest_stays_as_long_as_its_photo_since_it_says_whose_that_is(bucket):
    serve(bucket, "check", {"request_id": "c", "images": ["photos/c.jpg", "albums/own.jpg"]})
    bucket.put("albums/own.jpg", b"not below photos/")
    without_photos = {kind: seconds for kind, seconds in YEAR.items() if kind != "photos"}
    pruned(bucket, without_photos, days=400)
    assert {"requests/check/c.json", "results/check/c/result.json"} <= names(bucket)
    bucket.delete("albums/own.jpg")
    pruned(bucket, YEAR, days=400)
    assert names(bucket) == {"templates/t.png"}


def test_manifests_alone_leave_the_answers(bucket):
    serve(bucket, "generate", generate("g", "ann"))
    pruned(bucket, {"requests": 30 * DAY}, days=31)
    assert "requests/generate/g.json" not in names(bucket)
    assert "results/generate/g/result.json" in names(bucket)


def test_results_never_leave_their_manifest_behind_to_be_run_again(bucket):
    serve(bucket, "generate", generate("g", "ann"))
    serve(bucket, "check", {"request_id": "bad"})
    bucket.put("requests/check/garbage.json", b"{ no json")
    pruned(bucket, {"results": 30 * DAY}, days=31)
    assert not [key for key in names(bucket) if key.startswith(("claims/generate/", "results/generate/"))]
    assert not [key for key in names(bucket) if key == "requests/generate/g.json"]
    assert "requests/check/garbage.json" in names(bucket), "it is not answered yet"


def test_no_answer_goes_while_a_worker_may_have_just_read_its_manifest(bucket):
    for request_id in ("one", "two"):
        serve(bucket, "generate", generate(request_id, "ann"))
    clock, seen = Clock(bucket), []
    clock.days = 400
    retention = Retention(bucket, {}, clock, lambda seconds: seen.append((seconds, names(bucket))))
    retention.remove(retention.find(YEAR))
    ((seconds, then),) = seen
    assert seconds > 0
    assert not [key for key in then if key.startswith("requests/")]
    assert {f"results/generate/{one}/result.json" for one in ("one", "two")} <= then
    assert not [key for key in names(bucket) if "/generate/" in key]


def test_a_photo_that_is_named_meanwhile_stays(bucket):
    retention = Retention(bucket, {}, clock := Clock(bucket), no_wait)
    clock.days = 400
    found = retention.find(YEAR)
    assert {"photos/waits.jpg", "photos/loose.jpg"} <= found.objects.keys()
    Client(bucket).submit("check", {"request_id": "w", "images": ["photos/waits.jpg"]})
    bucket.put("queue/photog_check/u", b"{}\n" + json.dumps({"request_id": "p", "images": ["photos/c.jpg"]}).encode())
    outcome = retention.remove(found)
    assert {key for key, why in outcome.items() if why is not None} == {"photos/waits.jpg", "photos/c.jpg"}
    assert {key for key in names(bucket) if key.startswith("photos/")} == {"photos/waits.jpg", "photos/c.jpg"}


def test_an_undelivered_event_and_a_waiting_put_keep_their_request(bucket):
    for request_id in ("told", "untold", "unfinished", "put"):
        serve(bucket, "generate", generate(request_id, "ann"))
    bucket.put("progress/generate/unfinished.json", b"{}")
    bucket.put("outbox/generate/untold.json", b"{}")
    bucket.put("queue/photog_pre_pmml/u", b"{}\n" + bucket.get("requests/generate/put.json"))
    kept = pruned(bucket, YEAR, days=400)
    left = {key.split("/")[2] for key in names(bucket) if key.startswith("results/")}
    assert left >= {"untold", "unfinished"}, kept.objects
    assert "told" not in left


def test_the_same_manifest_again_is_a_new_request(bucket):
    body = generate("g", "ann")
    serve(bucket, "generate", body)
    bucket.put("index/generate", b"photog settled 1\n")
    pruned(bucket, YEAR, days=400)
    assert "index/generate" not in names(bucket)
    serve(bucket, "generate", body)
    assert "results/generate/g/result.json" in names(bucket)


def test_users_whom_nobody_has_named_for_long_are_to_be_forgotten(bucket):
    serve(bucket, "train", train("t", "ann", "ann.jpg"))
    retention = Retention(bucket, {}, clock := Clock(bucket), no_wait)
    clock.days = 99
    assert retention.find({"users": 100 * DAY}).users == []
    clock.days = 101
    assert retention.find({"users": 100 * DAY}).users == ["ann"]
    assert retention.find(YEAR).users == []


@pytest.mark.parametrize("waits", ["named", "photo", "put", "told"])
def test_a_person_is_not_forgotten_while_a_request_of_theirs_waits(bucket, waits):
    serve(bucket, "train", train("t", "ann", "ann.jpg"))
    body = generate("g", "ann")
    if waits == "named":
        Client(bucket).submit("generate", body)
    elif waits == "photo":
        bucket.put("users/ann/photos/own.jpg", b"photo")
        Client(bucket).submit("check", {"request_id": "c", "images": ["users/ann/photos/own.jpg"]})
    elif waits == "put":
        bucket.put("queue/photog_pre_pmml/u", b"{}\n" + json.dumps(body).encode())
    else:
        serve(bucket, "generate", body)
        bucket.put("outbox/generate/g.json", b"{}")
    retention = Retention(bucket, {}, clock := Clock(bucket), no_wait)
    clock.days = 101
    assert retention.find({"users": 100 * DAY}).users == []


def test_a_picture_that_is_uploaded_again_is_new(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    (tmp_path / "a.jpg").write_bytes(b"a picture")
    client = Client(bucket)
    for key in (client.reference(str(tmp_path / "a.jpg")), store_photo(bucket, b"another", ".jpg")):
        os.utime(tmp_path / "bucket" / key, (1, 1))
    client.reference(str(tmp_path / "a.jpg"))
    store_photo(bucket, b"another", ".jpg")
    assert len(list(bucket.list("photos/"))) == 2
    assert Retention(bucket, {}).find({"photos": DAY}).objects == {}


def test_if_something_cannot_be_read_nothing_goes(bucket, monkeypatch):
    serve(bucket, "check", {"request_id": "c", "images": ["photos/c.jpg"]})
    whole = type(bucket).list

    def unreadable(self, prefix=""):
        yield from whole(self, prefix)
        if prefix.startswith("users/"):
            raise UnreadableFolder("users/ann/ cannot be read", ["users/ann/"])

    clock = Clock(bucket)
    clock.days = 400
    now = clock()
    monkeypatch.setattr(type(bucket), "list", unreadable)
    found = Retention(bucket, {}, lambda: now).find(YEAR)
    assert (found.objects, list(found.faults)) == ({}, ["users/ann/"])


def test_what_cannot_be_removed_keeps_what_follows(bucket, monkeypatch):
    serve(bucket, "generate", generate("g", "ann"))
    delete = type(bucket).delete

    def refuse(self, key):
        if key.startswith("requests/"):
            raise BucketError("denied")
        delete(self, key)

    monkeypatch.setattr(type(bucket), "delete", refuse)
    clock = Clock(bucket)
    clock.days = 400
    retention = Retention(bucket, {}, clock, no_wait)
    outcome = retention.remove(retention.find(YEAR))
    assert outcome["requests/generate/g.json"] == "denied"
    assert outcome["results/generate/g/result.json"] == "requests/generate/g.json is still there"
    assert "results/generate/g/result.json" in names(bucket)


class TestVerb:
    def run(self, *words):
        return CliRunner().invoke(app, ["prune", *map(str, words)])

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ((), "give --older"),
            (("--older", "soon"), "is no age"),
            (("--older", "0.5h"), "the least is 1h"),
            (("--older", "47h", "--kind", "usage"), "the least is 2d"),
            (("--older", "30d", "--kind", "photo"), "did you mean photos"),
        ],
    )
    def test_says_what_is_missing(self, tmp_path, words, told):
        done = self.run(tmp_path, *words)
        assert (done.exit_code, told in done.stderr) == (2, True), done.stderr

    def test_lists_first_and_removes_then(self, tmp_path, monkeypatch):
        bucket = FolderBucket(tmp_path / "bucket")
        bucket.put("photos/old.jpg", b"photo")
        bucket.put("photos/new.jpg", b"photo")
        os.utime(tmp_path / "bucket/photos/old.jpg", (1, 1))
        listed = self.run(bucket.address, "--older", "30d", "--dry-run")
        assert "would remove photos/old.jpg" in listed.stdout
        assert "1 objects would be removed: 1 of photos" in listed.stdout
        assert bucket.head("photos/old.jpg") is not None
        monkeypatch.setenv("PHOTOG_RETENTION__PHOTOS", "30")
        done = self.run(bucket.address, "--json")
        assert json.loads(done.stdout)["removed"] == ["photos/old.jpg"]
        assert [info.key for info in bucket.list("photos/")] == ["photos/new.jpg"]

    def test_forgets_people_by_their_own_kind_only(self, tmp_path):
        bucket = FolderBucket(tmp_path / "bucket")
        bucket.put("photos/ann.jpg", b"photo")
        serve(bucket, "train", train("t", "ann", "ann.jpg"))
        for path in (tmp_path / "bucket").rglob("*.json"):
            os.utime(path, (1, 1))
        assert self.run(bucket.address, "--older", "30d").exit_code == 0
        assert bucket.head("users/ann/model.json") is not None
        done = self.run(bucket.address, "--older", "30d", "--kind", "users")
        assert (done.exit_code, "forgot ann" in done.stdout) == (0, True), done.output
        assert not list(bucket.list("users/"))


def test_every_kind_has_a_setting():
    assert set(RetentionSettings.model_fields) == set(KINDS)
