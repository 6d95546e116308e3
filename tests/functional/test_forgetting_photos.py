"""Photos go with the person whose they are, and those that are nobody's can be removed by their keys."""

import json

import pytest
from typer.testing import CliRunner, Result

from shared.buckets import FolderBucket
from shared.cli import app
from shared.contract import keys
from shared.contract.manifests import Json, encode
from shared.events import ObjectCreated
from shared.operations.client import Client
from shared.operations.erasure import Erasure, OwnedPhoto
from tests.echo import QUICK, Echo, invocation


def photog(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


class Checking(Echo):
    """Answers a check as the function does, as far as it names people."""

    def answer(self, body: Json, workspace):
        answer = super().answer(body, workspace)
        user = body["configure"].get("user_id")
        answer.data.pop("user_id")
        return type(answer)(answer.data | ({"user_id": user} if user else {}))

    def pointers(self, data: Json) -> dict[str, Json]:
        return {}


@pytest.fixture
def bucket(tmp_path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture
def checked(bucket, tmp_path):
    """Check photos, and return their keys in the bucket."""

    def check(request_id: str, *contents: str, user: str | None = None) -> list[str]:
        client, references = Client(bucket), []
        for content in contents:
            file = tmp_path / f"{content}.jpg"
            file.write_text(content)
            references.append(client.reference(str(file), user))
        configure = {} if user is None else {"user_id": user}
        client.submit("check", {"request_id": request_id, "images": references, "configure": configure})
        invocation(bucket, Checking()).receive(ObjectCreated(keys.request("check", request_id)))
        return references

    return check


def left(bucket: FolderBucket) -> set[str]:
    return {info.key for info in bucket.list("") if not info.key.startswith(keys.INDEX)}


def test_what_only_a_check_named_goes_with_the_person(bucket, checked):
    """Four rejected photos once stayed while forgetting said that nothing remains."""
    own = checked("c1", "a", "b", user="ann")
    assert all(key.startswith("users/ann/photos/") for key in own)
    checked("c2", "a", user="bob")
    others = {key for key in left(bucket) if "bob" in key or "c2" in key}
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert {*own, keys.request("check", "c1"), keys.result("check", "c1")} <= set(removed)
    assert left(bucket) == others


def test_a_check_is_found_by_its_answer_or_its_manifest_alone(bucket, checked):
    checked("c1", "a", user="ann")
    bucket.delete(keys.request("check", "c1"))
    Erasure(bucket, QUICK.lease).forget("ann")
    assert left(bucket) == set()


def test_a_photo_of_the_application_that_a_persons_check_names_is_theirs(bucket):
    bucket.put("photos/1.jpg", b"1")
    bucket.put("photos/2.jpg", b"2")
    for request_id, user, images in (("c1", "ann", ["photos/1.jpg", "photos/2.jpg"]), ("c2", "bob", ["photos/2.jpg"])):
        body = {"request_id": request_id, "images": images, "configure": {"user_id": user}}
        bucket.put(keys.request("check", request_id), encode(body))
    Erasure(bucket, QUICK.lease).forget("ann")
    assert left(bucket) == {"photos/2.jpg", keys.request("check", "c2")}, "the one that bob's check names stays"


class TestPhotosOfNobody:
    def test_they_go_by_their_keys_with_the_checks_that_name_them(self, bucket, checked):
        first, second = checked("c1", "a"), checked("c2", "b")
        before = left(bucket)
        done = photog("forget", bucket.address, "--photos", *first)
        assert done.exit_code == 0, done.output
        gone = before - left(bucket)
        assert {*first, keys.request("check", "c1"), keys.result("check", "c1")} <= gone
        assert not any("c2" in key or key in second for key in gone)
        assert f"1 photos: {len(gone)} objects removed, 0 remain\n" in done.stdout

    def test_a_prefix_stands_for_all_below_it(self, bucket, checked):
        checked("c1", "a", "b")
        done = photog("forget", bucket.address, "--photos", "photos/", "--json")
        assert json.loads(done.stdout)["remaining"] == []
        assert left(bucket) == set()

    def test_that_of_a_person_is_refused_and_nothing_is_removed(self, bucket, checked):
        first = checked("c1", "a")
        bucket.put("photos/mine.jpg", b"1")
        body = {"request_id": "t1", "images": ["photos/mine.jpg"], "configure": {"user_id": "ann"}}
        bucket.put(keys.request("train", "t1"), encode(body))
        before = left(bucket)
        done = photog("forget", bucket.address, "--photos", first[0], "--photos", "photos/mine.jpg")
        assert (done.exit_code, left(bucket)) == (2, before)
        assert "photos/mine.jpg is a photo of ann: forget ann" in done.stderr
        with pytest.raises(OwnedPhoto):
            Erasure(bucket, QUICK.lease).forget_photos({"photos/mine.jpg"})

    def test_that_of_a_person_whose_request_still_waits_in_a_queue_is_refused(self, bucket):
        bucket.put("photos/mine.jpg", b"1")
        body = {"request_id": "t1", "images": ["photos/mine.jpg"], "configure": {"user_id": "ann"}}
        bucket.put(f"{keys.QUEUE}photog_train_pmml/u", b"{}\n" + encode(body))
        with pytest.raises(OwnedPhoto, match="ann"):
            Erasure(bucket, QUICK.lease).forget_photos({"photos/mine.jpg"})
        assert "photos/mine.jpg" in left(bucket)

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--photos", "photos/mime.jpg"], "did you mean photos/mine.jpg?"),
            (["--photos", "users/ann/model.json"], "is not a photo that belongs to nobody"),
            (["--photos", "nothing/"], "there is no photo below nothing/"),
            ([], "name a person to forget, or with --photos"),
            (["ann", "--photos", "photos/mine.jpg"], "name a person to forget, or with --photos"),
        ],
    )
    def test_what_is_none_is_told(self, bucket, words, told):
        bucket.put("photos/mine.jpg", b"1")
        done = photog("forget", bucket.address, *words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
        assert left(bucket) == {"photos/mine.jpg"}


def test_photos_of_somebody_who_is_not_known_are_listed_too(bucket):
    bucket.put("users/mixed/photos/1.jpg", b"1")
    done = photog("people", "--bucket", bucket.address)
    assert done.exit_code == 0
    assert "mixed" in done.stdout
    assert "1 photo  uploaded only" in done.stdout


def test_a_person_without_the_bucket_is_told_the_whole_command():
    done = photog("forget", "ann")
    assert done.exit_code == 2
    assert "name the bucket too: photog forget " in done.stderr


def test_people_are_listed_and_who_was_mistyped_is_told_with_who_may_be_meant(bucket):
    reference = {
        "key": "results/train/t1/a1/0.png",
        "landmarks": [[1, 2]] * 68,
        "box": [0, 0, 9, 9],
        "embedding": [1.0],
    }
    model = {
        "user_id": "eileen", "request_id": "t1", "lora": None, "base_model": "portrait-tiny", "face_engine": "mesh",
        "trigger": "x", "references": [reference] * 3,
    }  # fmt: skip
    assert "nobody is known in" in photog("people", "--bucket", bucket.address).stderr
    bucket.put(keys.model("eileen"), encode(model))
    bucket.put(keys.model("bob"), encode(model | {"user_id": "bob", "lora": "results/train/t1/a1/l"}))
    bucket.put(keys.model("eve"), encode(model))  # a record of another person, which no worker would use either
    lines = [" ".join(line.split()) for line in photog("people", "--bucket", bucket.address).stdout.splitlines()]
    assert [line.partition(" since ")[0] for line in lines] == [
        "bob 3 photos trained on portrait-tiny", "eileen 3 photos not trained",
    ]  # fmt: skip
    known = json.loads(photog("people", "--bucket", bucket.address, "--json").stdout)["people"]
    assert [(one["user_id"], one["trained"]) for one in known] == [("bob", True), ("eileen", False)]
    done = photog("forget", bucket.address, "eilen")
    assert done.stdout == ""
    assert done.stderr == f"photog: nothing is kept of eilen in {bucket.address}; did you mean eileen?\n"
