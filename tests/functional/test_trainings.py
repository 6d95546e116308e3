"""A bucket whose users' models are missing: the newest training serves, but none of a forgotten user."""

import json
from collections import Counter
from itertools import permutations

import pytest

from shared.buckets import MemoryBucket
from shared.contract.hooks import Attempt, Hooks
from shared.contract.users import UserModel
from shared.lifecycle import trainings
from shared.lifecycle.bucket_photos import make_fetcher
from shared.lifecycle.bucket_workspace import BucketWorkspace
from shared.lifecycle.trainings import Trainings
from shared.operations.erasure import Erasure
from shared.settings import Settings
from tests.echo import QUICK

MODEL = "users/ann/model.json"


class Counted(MemoryBucket):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def folders(self, prefix):
        self.calls["folders"] += 1
        return super().folders(prefix)

    def get(self, key, largest=None):
        self.calls["get"] += 1
        return super().get(key, largest)


def train(bucket, request_id: str, committed: float | None, user: str = "ann") -> None:
    """Write what a training leaves, except its user's model."""
    folder = f"results/train/{request_id}/a1/"
    reference = {"key": f"{folder}1.png", "landmarks": [[1, 2]] * 68, "box": [0, 0, 9, 9], "embedding": [0.5] * 8}
    data: dict[str, object] = {
        "user_id": user, "request_id": request_id, "lora": f"{folder}lora.safetensors", "base_model": "b",
        "face_engine": "dlib", "trigger": "t", "references": [reference],
    }  # fmt: skip
    data |= {} if committed is None else {"committed": committed}
    manifest = {"request_id": request_id, "images": ["a.jpg"], "configure": {"user_id": user}}
    bucket.put(f"requests/train/{request_id}.json", json.dumps(manifest).encode())
    bucket.put(f"{folder}lora.safetensors", b"lora")
    answer = {"request_id": request_id, "code": "OK", "message": "success", "data": data}
    bucket.put(f"results/train/{request_id}/result.json", json.dumps(answer).encode())


def asked(bucket, known: Trainings | None = None) -> str | None:
    """Return the training that serves ann, as a generate request finds it."""
    files = make_fetcher(bucket, {}, Settings())
    workspace = BucketWorkspace(bucket, Attempt("generate", "g", 1), files, Hooks([]), known or Trainings(bucket))
    if workspace.size(MODEL) is None:
        return None
    return UserModel.model_validate_json(bucket.get(MODEL)).request_id


@pytest.mark.parametrize("order", list(permutations((("t1", None), ("t2", 200.0), ("t3", 100.0)))))
def test_the_newest_training_serves_by_what_its_answer_says(order):
    bucket = MemoryBucket()
    for name, committed in order:
        train(bucket, name, committed)
    train(bucket, "t9", 900.0, "bob")
    assert asked(bucket) == "t2"
    assert bucket.head("users/bob/model.json") is None, "who is not asked for"
    bucket.delete("results/train/t2/a1/lora.safetensors")
    for info in list(bucket.list("users/ann/")):
        bucket.delete(info.key)
    assert asked(bucket) == "t3", "the LoRA of the newest is gone"


def test_one_that_was_trained_in_an_earlier_version_serves_too():
    bucket = MemoryBucket()
    train(bucket, "t1", None)
    assert asked(bucket) == "t1"


def test_whoever_has_a_model_costs_no_listing_and_whoever_has_none_costs_one():
    bucket = Counted()
    for number in range(20):
        train(bucket, f"t{number}", float(number), "bob")
    known = Trainings(bucket)
    for _ in range(3):
        assert asked(bucket, known) is None
    assert bucket.calls == {"folders": 3, "get": 20}
    train(bucket, "ann", 1.0)
    assert asked(bucket, known) == "ann"
    bucket.calls.clear()
    assert asked(bucket, known) == "ann"
    assert bucket.calls["folders"] == 0


def test_no_more_than_so_many_are_looked_at(monkeypatch, caplog):
    monkeypatch.setattr(trainings, "MOST", 5)
    bucket = Counted()
    for number in range(9):
        train(bucket, f"t{number}", float(number), "bob")
    assert asked(bucket) is None
    assert bucket.calls["get"] == 5
    assert "more than 5 trainings" in caplog.text


def test_a_forgotten_person_stays_forgotten_whenever_somebody_asks_for_them():
    """Requested before each single removal, as by a late generate request."""

    class Asking(MemoryBucket):
        def delete(self, key):
            super().delete(key)
            if key.startswith("results/train/t1/a1/"):
                seen.append(asked(self))

    bucket, seen = Asking(), []
    for request_id in ("t1", "t2"):
        train(bucket, request_id, 1.0)
    assert asked(bucket) == "t2"
    forgetting = Erasure(bucket, QUICK.lease)
    forgetting.forget("ann")
    assert seen
    assert forgetting.holdings("ann").remaining() == []
    assert asked(bucket) is None
    assert list(bucket.list("")) == []


def test_what_is_forgotten_while_it_is_restored_is_taken_back():
    class Forgotten(MemoryBucket):
        def put(self, key, data):
            super().put(key, data)
            if key == MODEL:
                self.delete("results/train/t1/result.json")

    bucket = Forgotten()
    train(bucket, "t1", 1.0)
    assert asked(bucket) is None
    assert list(bucket.list("users/")) == []


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{}", b"\xff", b'{"code": "OK", "data": {"user_id": "ann", "lora": "a"}}'),
        *(
            b'{"code": "OK", "data": {"user_id": "ann", "committed": 2, "lora": "%s"}}' % one
            for one in (b"", b"../a", b"/a")
        ),
    ],
)
def test_an_answer_that_is_none_restores_nobody(text):
    bucket = MemoryBucket()
    bucket.put("results/train/t1/result.json", text)
    bucket.put("a", b"x")
    assert asked(bucket) is None
    train(bucket, "t2", 1.0)
    assert asked(bucket) == "t2"
