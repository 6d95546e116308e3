"""Erasure in a versioned bucket: nothing of the person can be read any more, or the user is told what can."""

import json

import pytest
from botocore.awsrequest import AWSResponse
from typer.testing import CliRunner

from shared.buckets import FolderBucket, MemoryBucket, MissingObject, with_history
from shared.buckets.aws_clients import S3Settings
from shared.buckets.history import History
from shared.buckets.s3 import S3Bucket
from shared.cli import app
from shared.events import ObjectCreated
from shared.operations.erasure import OLD_VERSIONS, Erasure
from tests.cloud import REGION
from tests.echo import QUICK, Echo, invocation


@pytest.fixture
def bucket(cloud, request) -> S3Bucket:
    prefix = getattr(request, "param", "")
    made = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION), prefix)
    cloud.client("s3").put_bucket_versioning(Bucket=made.name, VersioningConfiguration={"Status": "Enabled"})
    return made


def denying(monkeypatch, *denied: str) -> None:
    """A role without some rights; `DeleteObjectVersion` is DeleteObject of one version."""

    def refuse(request, **context):
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return AWSResponse(request.url, 403, {}, type("Raw", (), {"stream": lambda self, **options: iter([body])})())

    def refuse_version(request, **context):
        return refuse(request) if "versionId=" in request.url else None

    connect = S3Bucket._connect

    def connected(self):
        client = connect(self)
        for operation in denied:
            if operation == "DeleteObjectVersion":
                client.meta.events.register("before-send.s3.DeleteObject", refuse_version)
            else:
                client.meta.events.register(f"before-send.s3.{operation}", refuse)
        return client

    monkeypatch.setattr(S3Bucket, "_connect", connected)


def kept(cloud, bucket) -> list[str]:
    """Return the keys of every version and every delete marker."""
    pages = cloud.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=bucket.prefix)
    entries = [one for page in pages for one in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
    return sorted({one["Key"].removeprefix(bucket.prefix) for one in entries})


def drop(bucket, request_id: str, user: str, *photos: str) -> None:
    body = {"request_id": request_id, "images": list(photos), "configure": {"user_id": user}}
    bucket.put(f"requests/train/{request_id}.json", json.dumps(body).encode())


def lived_in(bucket) -> None:
    for photo in ("ann", "ann-deleted", "both", "bob", "ann-and-more"):
        bucket.put(f"photos/{photo}.jpg", b"the first version")
        bucket.put(f"photos/{photo}.jpg", b"photo")
    own = f"s3://{bucket.name}/{bucket.prefix}photos"
    drop(bucket, "t1", "ann", "photos/ann.jpg", f"{own}/both.jpg")
    drop(bucket, "t2", "ann", f"{own}/ann-deleted.jpg")
    drop(bucket, "t3", "bob", "photos/bob.jpg", "photos/both.jpg")
    bucket.put("results/train/t1/a1/scratch.bin", b"half a LoRA")
    bucket.delete("results/train/t1/a1/scratch.bin")
    bucket.put("progress/train/t1.json", b"{}")
    bucket.delete("progress/train/t1.json")
    bucket.put("users/ann/model.json", b"{}")
    bucket.delete("photos/ann-deleted.jpg")
    bucket.delete("requests/train/t2.json")


OTHERS = ["photos/ann-and-more.jpg", "photos/bob.jpg", "photos/both.jpg", "requests/train/t3.json"]


@pytest.mark.parametrize("bucket", ["", "some/where"], indirect=True)
def test_no_version_of_what_is_the_users_remains_and_all_of_others_do(cloud, bucket):
    lived_in(bucket)
    forgetting = Erasure(bucket, QUICK.lease)
    removed = forgetting.forget("ann")
    assert {"photos/ann.jpg", "photos/ann-deleted.jpg", "requests/train/t2.json"} <= set(removed)
    assert forgetting.holdings("ann").remaining() == []
    assert kept(cloud, bucket) == OTHERS
    assert bucket.get("photos/both.jpg") == b"photo"


@pytest.mark.parametrize("bucket", ["", "some/where"], indirect=True)
def test_versions_of_a_manifest_whose_key_is_none_go_too(cloud, bucket):
    drop(bucket, "t1", "ann")
    body = bucket.get("requests/train/t1.json")
    for key in ("requests/train//t1.json", "requests//train/t1.json"):
        for _ in range(2):
            cloud.client("s3").put_object(Bucket=bucket.name, Key=bucket.prefix + key, Body=body)
    bucket.delete("requests/train//t1.json")
    forgetting = Erasure(bucket, QUICK.lease)
    assert {"requests/train//t1.json", "requests//train/t1.json"} < set(forgetting.forget("ann"))
    assert forgetting.holdings("ann").remaining() == kept(cloud, bucket) == []


def test_what_was_only_hidden_by_a_plain_deletion_is_found_and_removed(cloud, bucket):
    lived_in(bucket)
    for info in list(bucket.list("")):
        bucket.delete(info.key)
    Erasure(bucket, QUICK.lease).forget("ann")
    assert "ann.jpg" not in "".join(kept(cloud, bucket)).replace("and-more", "")


def test_a_request_that_runs_is_stopped_and_leaves_no_version(cloud, bucket):
    created = ObjectCreated("requests/check/c.json")
    bucket.put("photos/ann.jpg", b"photo")
    drop(bucket, "t1", "ann", "photos/ann.jpg")
    bucket.put(created.key, b'{"request_id": "c", "images": ["photos/ann.jpg"]}')
    invocation(bucket, Echo()).receive(created)
    Erasure(bucket, QUICK.lease).forget("ann")
    left = kept(cloud, bucket)
    assert [key for key in left if not key.startswith("users/u/")] == []


def test_versions_that_may_not_be_removed_are_counted_and_the_object_is_hidden(cloud, bucket, monkeypatch):
    lived_in(bucket)
    denying(monkeypatch, "DeleteObjectVersion")
    forgetting = Erasure(bucket, QUICK.lease)
    assert forgetting.forget("ann") == []
    held = forgetting.holdings("ann")
    assert "photos/ann.jpg" in held.remaining()
    assert held.faults["photos/ann.jpg"].startswith("2 versions of photos/ann.jpg remain and can be read")
    assert "s3:DeleteObjectVersion" in held.faults["photos/ann.jpg"]
    assert bucket.head("photos/ann.jpg") is None, "what can be done is done"
    monkeypatch.undo()
    Erasure(bucket, QUICK.lease).forget("ann")
    assert kept(cloud, bucket) == OTHERS, "with the right it is found and removed"


@pytest.mark.parametrize("denied", [("ListObjectVersions",), ("ListObjectVersions", "GetBucketVersioning")])
def test_where_versions_may_not_be_seen_everything_that_is_only_hidden_remains(cloud, bucket, monkeypatch, denied):
    lived_in(bucket)
    denying(monkeypatch, *denied)
    forgetting = Erasure(bucket, QUICK.lease)
    assert forgetting.forget("ann") == []
    remaining = forgetting.holdings("ann").remaining()
    assert {"photos/ann.jpg", "requests/train/t1.json", OLD_VERSIONS} <= set(remaining)
    assert bucket.head("photos/ann.jpg") is None
    assert Erasure(bucket, QUICK.lease).holdings("ann").remaining() == [OLD_VERSIONS], "never that nothing remains"
    monkeypatch.undo()
    Erasure(bucket, QUICK.lease).forget("ann")
    assert [key for key in kept(cloud, bucket) if not key.startswith("probes/")] == OTHERS


def test_the_command_ends_with_1_and_says_how_many_remain(cloud, bucket, monkeypatch):
    lived_in(bucket)
    monkeypatch.setenv("PHOTOG_S3__ENDPOINT", cloud.endpoint)
    monkeypatch.setenv("PHOTOG_S3__REGION", REGION)
    with monkeypatch.context() as role:
        denying(role, "DeleteObjectVersion")
        done = CliRunner().invoke(app, ["forget", bucket.address, "ann"])
    assert done.exit_code == 1
    told = done.stdout.strip().splitlines()
    remaining = [line for line in told if line.startswith("remains ")]
    assert told[-1] == f"ann: 0 objects removed, {len(remaining)} remain"
    assert "2 versions of photos/ann.jpg remain and can be read" in done.stderr
    done = CliRunner().invoke(app, ["forget", bucket.address, "ann"])
    assert done.exit_code == 0
    assert done.stdout.strip().endswith(" 0 remain")


def test_a_bucket_whose_versions_were_suspended_keeps_the_old_ones_and_they_go_too(cloud, bucket):
    bucket.put("photos/ann.jpg", b"photo")
    drop(bucket, "t1", "ann", "photos/ann.jpg")
    cloud.client("s3").put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Suspended"})
    bucket.put("photos/ann.jpg", b"once more")
    assert len(Erasure(bucket, QUICK.lease).forget("ann")) == 2
    assert kept(cloud, bucket) == []


def test_where_nothing_is_kept_no_right_to_versions_is_needed(cloud, monkeypatch, tmp_path):
    denying(monkeypatch, "ListObjectVersions", "DeleteObjectVersion", "GetBucketVersioning")
    plain = S3Bucket(cloud.bucket(), S3Settings(endpoint=cloud.endpoint, region=REGION))
    lived_in(plain)
    forgetting = Erasure(plain, QUICK.lease)
    assert "photos/ann.jpg" in forgetting.forget("ann")
    assert forgetting.holdings("ann").remaining() == []
    for other in (MemoryBucket(), FolderBucket(tmp_path)):
        assert with_history(other) is other


def test_the_history_of_a_bucket_is_that_of_its_objects(bucket):
    lived_in(bucket)
    history = with_history(bucket)
    assert isinstance(history, History)
    keys = [info.key for info in history.list("photos/ann")]
    assert keys == ["photos/ann-and-more.jpg", "photos/ann-deleted.jpg", "photos/ann.jpg"]
    assert history.get("photos/ann-deleted.jpg") == b"photo", "its newest version"
    assert b"".join(history.stream("photos/ann-deleted.jpg")) == b"photo"
    assert history.head("photos/ann-deleted.jpg").size == 5
    assert history.head("photos/ann") is None
    history.delete("photos/ann")
    assert history.get("photos/ann.jpg") == b"photo"
    history.delete("photos/ann-deleted.jpg")
    assert history.head("photos/ann-deleted.jpg") is None
    with pytest.raises(MissingObject):
        history.get("photos/ann-deleted.jpg")
