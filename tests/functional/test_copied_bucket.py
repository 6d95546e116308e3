"""A bucket that was copied, restored or used under a wrong clock: the newest training stays the newest."""

import json
import os
import shutil
from itertools import permutations
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome
from tests.echo import Echo, invocation

POINTER = "users/u/model.json"
AGO = 10_000.0  # seconds


def train(bucket: FolderBucket, request_id: str) -> ObjectCreated:
    created = ObjectCreated(f"requests/check/{request_id}.json")
    bucket.put(created.key, json.dumps({"request_id": request_id}).encode())
    assert invocation(bucket, Echo()).receive(created) is Outcome.ANSWERED
    return created


def serving(bucket: FolderBucket) -> str:
    """Return the request_id of the training that serves the user."""
    return json.loads(bucket.get(POINTER))["artifact"].split("/")[2]


def told_again(bucket: FolderBucket, *names: str) -> None:
    """Let a worker find an answer beside its progress and follow it up again, as after a crash or in half a copy."""
    for name in names:
        bucket.put(f"progress/check/{name}.json", b"{}")
        assert invocation(bucket, Echo(), owner="next").receive(ObjectCreated(f"requests/check/{name}.json")) is (
            Outcome.ALREADY
        )


def aged(bucket: FolderBucket, **seconds: float) -> None:
    """Change the times of some answers' objects."""
    for name, ago in seconds.items():
        path = bucket.root / f"results/check/{name}/result.json"
        os.utime(path, (path.stat().st_mtime - ago,) * 2)


def written_by_an_earlier_version(bucket: FolderBucket, *names: str) -> None:
    """Rewrite the bucket like an earlier version: no moment in answers, the answer file's time in the pointer."""
    for name in names:
        path = bucket.root / f"results/check/{name}/result.json"
        status, answer = path.stat(), json.loads(path.read_bytes())
        del answer["data"]["committed"]
        path.write_text(json.dumps(answer))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        if name == serving(bucket):
            pointer = json.loads(bucket.get(POINTER)) | {"committed": status.st_mtime}
            bucket.put(POINTER, json.dumps(pointer).encode())
    shutil.rmtree(bucket.root / "users/u/swaps")


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


@pytest.mark.parametrize("order", list(permutations(("t3", "m4", "a5"))))
@pytest.mark.parametrize("earlier_version", [False, True])
def test_a_copy_that_makes_all_times_new_keeps_the_newest_training(bucket, order, earlier_version):
    for name in ("t3", "m4", "a5"):
        train(bucket, name)
    if earlier_version:
        written_by_an_earlier_version(bucket, "t3", "m4", "a5")
    for now, name in enumerate(order, start=100):
        path = bucket.root / f"results/check/{name}/result.json"
        os.utime(path, (path.stat().st_mtime + now,) * 2)
    told_again(bucket, *order)
    assert serving(bucket) == "a5"
    train(bucket, "b6")
    assert serving(bucket) == "b6"


@pytest.mark.parametrize("order", list(permutations(("t3", "a5"))))
def test_a_copy_without_its_pointers_gets_the_newest_one(bucket, order):
    for name in ("t3", "a5"):
        train(bucket, name)
    aged(bucket, a5=AGO)
    shutil.rmtree(bucket.root / "users")
    told_again(bucket, *order)
    assert serving(bucket) == "a5"


def test_a_training_after_the_clock_was_set_back_is_the_newest_and_stays_it(bucket):
    train(bucket, "t1")
    pointer = json.loads(bucket.get(POINTER))
    later = pointer["committed"] + AGO
    for path in (bucket.root / "users/u").rglob("*.json"):
        path.unlink()
    bucket.put(POINTER, json.dumps(pointer | {"committed": later}).encode())
    answer = json.loads(bucket.get("results/check/t1/result.json"))
    answer["data"]["committed"] = later
    bucket.put("results/check/t1/result.json", json.dumps(answer).encode())
    train(bucket, "t2")
    assert serving(bucket) == "t2"
    told_again(bucket, "t1", "t2", "t1")
    assert serving(bucket) == "t2"


def test_an_answer_of_an_earlier_version_that_nobody_pointed_to_yet_is_followed_up(bucket):
    for name in ("t1", "t2"):
        train(bucket, name)
    answers = {name: json.loads(bucket.get(f"results/check/{name}/result.json")) for name in ("t1", "t2")}
    pointer = {"artifact": answers["t1"]["data"]["artifact"], "committed": answers["t1"]["data"]["committed"] - 0.5}
    shutil.rmtree(bucket.root / "users")
    bucket.put(POINTER, json.dumps(pointer).encode())
    del answers["t2"]["data"]["committed"]
    bucket.put("results/check/t2/result.json", json.dumps(answers["t2"]).encode())
    told_again(bucket, "t2")
    assert serving(bucket) == "t2"


def test_an_answer_says_when_it_was_committed_and_its_pointer_says_the_same(bucket):
    train(bucket, "t1")
    answer = json.loads(bucket.get("results/check/t1/result.json"))
    assert answer["data"]["committed"] == json.loads(bucket.get(POINTER))["committed"]
    assert abs(answer["data"]["committed"] - bucket.head("results/check/t1/result.json").modified) < 5


def test_whoever_was_frozen_before_its_commit_comes_after_what_it_could_have_seen_and_before_what_it_could_not(bucket):
    """Of two at once, the one that took its moment first is the older, although it commits last."""

    class Frozen(FolderBucket):
        def put_if_absent(self, key: str, data: bytes) -> bool:
            if key.endswith("slow/result.json"):
                train(bucket, "quick")
            return super().put_if_absent(key, data)

    train(bucket, "first")
    train(Frozen(bucket.root), "slow")
    assert serving(bucket) == "quick"
    told_again(bucket, "slow", "quick", "first", "slow")
    assert serving(bucket) == "quick"
