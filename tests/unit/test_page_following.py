"""What viewers wait for: progress and answers, and the pictures that a training's validations have made."""

from page.following import Follower
from page.settings import PageSettings
from shared.buckets import MemoryBucket
from shared.contract import keys
from shared.contract.manifests import encode, running
from shared.operations.client import Client


def report(bucket, step, **figures):
    data = {"stage": "training", "step": step, "steps": 100, "eta_seconds": 9.0, "loss": 1 / step}
    bucket.put(keys.progress("train", "t"), encode(running("t", data | figures)))


def validate(bucket, attempt, *steps):
    for step in steps:
        bucket.put(keys.artifacts("train", "t", attempt) + keys.validation_pictures(step), b"a picture")


def test_validation_pictures_are_found_as_they_come_and_each_validation_is_one_point_of_the_curve():
    bucket = MemoryBucket()
    follower = Follower(Client(bucket), PageSettings())
    seen = follower.look("train", "t")
    report(bucket, 3)
    follower.refresh()
    assert (seen.curve, seen.likeness, seen.pictures) == ([(3, 1 / 3)], [], {})
    report(bucket, 11, validated=10, likeness=0.3)
    follower.refresh()
    assert (seen.likeness, seen.pictures) == ([(10, 0.3)], {}), "a distant store may not have them yet"
    validate(bucket, 1, 0, 10)
    follower.refresh()
    folder = keys.artifacts("train", "t", 1)
    assert seen.pictures == {step: folder + keys.validation_pictures(step) for step in (0, 10)}
    validate(bucket, 2, 0, 10, 20)
    report(bucket, 21, validated=20, likeness=0.3)
    follower.refresh()
    assert sorted(seen.pictures) == [0, 10, 20]
    assert seen.likeness == [(10, 0.3), (20, 0.3)], "the same likeness twice is two validations"


def test_a_bucket_is_listed_once_for_a_validation_however_often_it_is_looked_at():
    listed = []

    class Counting(MemoryBucket):
        def list(self, prefix, after=""):
            listed.append(prefix)
            return super().list(prefix, after)

    bucket = Counting()
    follower = Follower(Client(bucket), PageSettings())
    follower.look("train", "t")
    validate(bucket, 1, 0, 10)
    for step in range(11, 20):
        report(bucket, step, validated=10)
        follower.refresh()
    assert listed == [keys.result_folder("train", "t")]


def test_progress_of_more_steps_than_a_float_holds_is_nobodys():
    bucket = MemoryBucket()
    report(bucket, 10**400)
    assert Client(bucket).progress("train", "t") is None
