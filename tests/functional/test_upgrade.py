"""Workers of two releases beside each other: what a later one adds to any object is ignored by this one."""

import json

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket
from shared.cli import app
from shared.contract.function import Answer
from shared.contract.users import UserModel
from shared.events import ObjectCreated
from shared.lifecycle.claims import ClaimBusy, Claims, HeldClaim
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.lifecycle.usage_records import UsageRecords
from shared.notify.bucket import BucketNotifier
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.operations.people import find_person
from shared.operations.retention import Retention
from shared.operations.usage import sum_usage
from tests.echo import QUICK
from tests.functional.test_stale_people import model, reference

NEW = {"of_a_later_release": {"some": ["thing"]}}


class Train:
    """Leaves what train leaves."""

    name = "train"

    def answer(self, body, workspace):
        photo = reference(workspace.save("references/0.png", b"face"))
        return Answer(model("ann", workspace.request_id, workspace.save("l.safetensors", b"w"), [photo]))

    def evict(self, exists):
        """Nothing is kept."""

    def pointers(self, data):
        return {"users/ann/model.json": UserModel(**data).model_dump(mode="json")}


@pytest.fixture
def bucket(tmp_path):
    made = FolderBucket(tmp_path / "bucket")
    made.put("photos/1.jpg", b"photo")
    return made


def submit(bucket, request_id):
    body = {"request_id": request_id, "images": ["photos/1.jpg"], "configure": {"user_id": "ann"}}
    Client(bucket).submit("train", body)
    return ObjectCreated(f"requests/train/{request_id}.json")


def worker(bucket, owner="this release"):
    hooks = [UsageRecords(bucket), BucketNotifier(bucket)]
    return Invocation(bucket, Train(), QUICK, owner, Shutdown(1.0), hooks)


def serving(bucket):
    person = find_person(bucket, "ann")
    return person and person.request_id


def rewrite_as_later(bucket):
    """Add a member to every object that a later release could have written, also inside of `data`."""
    for info in list(bucket.list("")):
        if info.key.endswith(".json") and not info.key.startswith("requests/"):
            told = json.loads(bucket.get(info.key)) | NEW
            if isinstance(told.get("data"), dict):
                told["data"] |= NEW | ({"usage": told["data"]["usage"] | NEW} if "usage" in told["data"] else {})
            bucket.put(info.key, json.dumps(told).encode())


def test_what_a_later_release_adds_is_read_by_this_one(bucket):
    first = submit(bucket, "r1")
    assert worker(bucket).receive(first) is Outcome.ANSWERED
    bucket.put("progress/train/r1.json", b'{"request_id": "r1", "code": "502", "data": {"stage": "answer"}}')
    rewrite_as_later(bucket)
    assert worker(bucket).receive(first) is Outcome.ALREADY, "and it is completed"
    assert bucket.head("progress/train/r1.json") is None
    assert serving(bucket) == "r1"
    assert Client(bucket).answer("train", "r1")["code"] == "OK"
    assert sum_usage(bucket, 0.0)[0]["ann"].requests == {"train": 1}
    assert Retention(bucket, {}).find({"photos": 3600.0}).faults == {}
    shown = CliRunner().invoke(app, ["status", str(bucket.root), "--json"])
    assert json.loads(shown.stdout)["train"]["ok"] == ["r1"]
    assert worker(bucket).receive(submit(bucket, "r2")) is Outcome.ANSWERED
    assert serving(bucket) == "r2", "a training of this release takes its place"
    Erasure(bucket, QUICK.lease).forget("ann")
    assert [info.key for info in bucket.list("")] == []


def test_a_request_that_a_later_release_holds_is_left_to_it_and_taken_over_when_it_is_gone(bucket):
    created = submit(bucket, "r1")
    held = Claims(bucket, "train", QUICK.lease, "later release").acquire("r1", created.key, "")
    assert isinstance(held, HeldClaim)
    rewrite_as_later(bucket)
    mine = Claims(bucket, "train", QUICK.lease, "this release")
    assert isinstance(mine.acquire("r1", created.key, ""), ClaimBusy)
    Claims(bucket, "train", QUICK.lease, "later release").release("r1", held.record)
    rewrite_as_later(bucket)
    assert worker(bucket).receive(created) is Outcome.ANSWERED
    assert json.loads(bucket.get("results/train/r1/result.json"))["data"]["lora"].startswith("results/train/r1/a2/")
