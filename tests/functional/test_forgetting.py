"""Erasure of a user: nothing of that person remains, everything of others does, and nothing comes back."""

import json
import re
import threading
import time

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket, InvalidKey, MemoryBucket, StoreUnavailable
from shared.buckets.aws_clients import S3Settings
from shared.cli import app
from shared.contract.function import Answer
from shared.contract.manifests import canonical_hash, encode
from shared.errors import NoFaceInTemplate
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.notify.bucket import BucketNotifier
from shared.observability.failing_keys import Failures, failure_key
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.settings import Scan
from shared.triggers.folder import FolderTrigger
from tests.echo import QUICK, until
from tests.unprivileged import place, unprivileged


class FakeFunction:
    """A function that only leaves behind what the real ones do."""

    def __init__(self, name, work=lambda workspace: None):
        self.name, self._work, self.runs = name, work, []

    def answer(self, body, workspace):
        self.runs.append(workspace.request_id)
        workspace.progress("work", 0, 1)
        self._work(workspace)
        user = body.get("configure", {}).get("user_id")
        return Answer({"user_id": user, "artifact": workspace.save("made.bin", b"made")})

    def pointers(self, data):
        return {f"users/{data['user_id']}/model.json": data} if self.name == "train" else {}


@pytest.fixture(params=["memory", "folder"])
def bucket(request, tmp_path):
    made = MemoryBucket() if request.param == "memory" else FolderBucket(tmp_path / "bucket")
    for name in ("ann/1.jpg", "ann/2.jpg", "both.jpg", "bob/1.jpg"):
        made.put(f"photos/{name}", b"photo")
    made.put("templates/t.png", b"template")
    return made


def serve(bucket, function, body, fake=None):
    Client(bucket).submit(function, body)
    key = f"requests/{function}/{body['request_id']}.json"
    fake = fake or FakeFunction(function)
    invocation = Invocation(bucket, fake, QUICK, "w", Shutdown(1.0), [BucketNotifier(bucket)])
    return invocation.receive(ObjectCreated(key))


def train(request_id, user, *photos):
    images = [f"photos/{name}" for name in photos]
    return {"request_id": request_id, "images": images, "configure": {"user_id": user}}


def generate(request_id, user):
    return {"request_id": request_id, "template_image": "templates/t.png", "configure": {"user_id": user}}


def lived_in(bucket):
    """A bucket in which ann and bob were served, alone and together."""
    check = {"images": ["photos/ann/1.jpg", "photos/both.jpg"]}
    serve(bucket, "check", {"request_id": "c-ann"} | check)
    serve(bucket, "check", {"request_id": "c-bob", "images": ["photos/bob/1.jpg"]})
    serve(bucket, "train", train("t-ann", "ann", "ann/1.jpg", "both.jpg"))
    serve(bucket, "train", train("t-ann-again", "ann", "ann/1.jpg", "ann/2.jpg"))
    serve(bucket, "train", train("t-bob", "bob", "bob/1.jpg", "both.jpg"))
    serve(bucket, "generate", generate("g-ann", "ann"))
    serve(bucket, "generate", generate("g-bob", "bob"))
    serve(bucket, "generate", generate("g-both", ["ann", "bob"]))
    bucket.delete("requests/generate/g-ann.json")  # an operator may have tidied up
    return bucket


def without_time(key):
    return re.sub(r"/swaps/\d+-", "/swaps/", key)


def keys(bucket):
    return sorted(info.key for info in bucket.list(""))


def test_what_was_claimed_before_ids_were_compared_as_text_goes_too(bucket):
    body = train(777, "ann", "ann/1.jpg") | {"template_image": None}
    bucket.put("requests/train/777.json", encode(body))
    record = {"owner": "w", "attempt": 1, "nonce": "n", "payload_sha256": canonical_hash(body), "manifest": "m"}
    bucket.put("claims/train/777/000001.json", encode(record | {"started": 0.0, "ended": "died"}))
    bucket.put("progress/train/777.json", b"{}")
    forgetting = Erasure(bucket, QUICK.lease)
    forgetting.forget("ann")
    assert forgetting.holdings("ann").remaining() == []
    assert [key for key in keys(bucket) if "777" in key] == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_manifest_that_is_not_utf_8_is_found_like_any_other(bucket, encoding):
    text = json.dumps(train("r1", "ann", "ann/1.jpg") | {"x": "caf\xe9"}, ensure_ascii=False)
    bucket.put("requests/train/r1.json", text.encode(encoding))
    invocation = Invocation(bucket, FakeFunction("train"), QUICK, "w", Shutdown(1.0))
    invocation.receive(ObjectCreated("requests/train/r1.json"))
    Erasure(bucket, QUICK.lease).forget("ann")
    assert [key for key in keys(bucket) if "r1" in key or "ann/1" in key] == []


def test_nothing_of_the_user_remains_and_everything_of_others_does(bucket):
    before = set(keys(lived_in(bucket)))
    forgetting = Erasure(bucket, QUICK.lease)
    removed = forgetting.forget("ann")
    assert set(removed) == before - set(keys(bucket))
    assert forgetting.holdings("ann").keys == Erasure(bucket, QUICK.lease).holdings("ann").keys == []
    for info in bucket.list(""):
        assert b'"ann"' not in bucket.get(info.key), info.key
        assert not any(name in info.key for name in ("-ann", "/ann", "g-both")), info.key
    assert {"photos/both.jpg", "photos/bob/1.jpg", "templates/t.png"} <= set(keys(bucket))
    alone = type(bucket)("alone") if isinstance(bucket, MemoryBucket) else FolderBucket(bucket.root.parent / "alone")
    for function, body in (
        ("check", {"request_id": "c-bob", "images": ["photos/bob/1.jpg"]}),
        ("train", train("t-bob", "bob", "bob/1.jpg", "both.jpg")),
        ("generate", generate("g-bob", "bob")),
    ):
        serve(alone, function, body)
    ours = {without_time(key) for key in keys(bucket) if not key.startswith(("photos/", "templates/"))}
    assert ours == set(map(without_time, keys(alone)))


def test_forgetting_again_removes_nothing(bucket):
    Erasure(lived_in(bucket), QUICK.lease).forget("ann")
    before = keys(bucket)
    assert Erasure(bucket, QUICK.lease).forget("ann") == []
    assert keys(bucket) == before


def test_a_request_cannot_name_other_peoples_objects_as_photos_to_be_removed(bucket):
    lived_in(bucket)
    model, answer = "users/bob/model.json", "results/train/t-bob/result.json"
    body = {"request_id": "evil", "images": [model, answer, "../x", "a\\b"], "configure": {"user_id": "eve"}}
    serve(bucket, "train", body)
    removed = Erasure(bucket, QUICK.lease).forget("eve")
    assert "requests/train/evil.json" in removed
    assert bucket.head(model)
    assert bucket.head(answer)


def test_a_conflicting_request_of_the_user_goes_without_the_answer_it_conflicts_with(bucket):
    serve(bucket, "train", train("1", "bob", "bob/1.jpg"))
    bucket.put("requests/train/other.json", json.dumps(train("1", "ann", "ann/1.jpg")).encode())
    invocation = Invocation(bucket, FakeFunction("train"), QUICK, "w", Shutdown(1.0))
    assert invocation.receive(ObjectCreated("requests/train/other.json")) is Outcome.CONFLICT
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert [key for key in removed if "conflict-" in key]
    assert "requests/train/other.json" in removed
    assert bucket.head("results/train/1/result.json")
    assert bucket.head("claims/train/1/000001.json")


def conflicting(bucket, body, key):
    bucket.put(key, json.dumps(body).encode())
    invocation = Invocation(bucket, FakeFunction("train"), QUICK, "w", Shutdown(1.0))
    assert invocation.receive(ObjectCreated(key)) is Outcome.CONFLICT
    return {info.key for info in bucket.list(f"results/train/{body['request_id']}/conflict-")}


def test_another_persons_conflict_under_the_users_id_stays_and_the_users_own_goes(bucket):
    serve(bucket, "train", train("1", "ann", "ann/1.jpg"))
    bobs = conflicting(bucket, train("1", "bob", "bob/1.jpg"), "requests/train/bobs.json")
    both = conflicting(bucket, train("1", "ann", "ann/2.jpg"), "requests/train/anns.json")
    gone = conflicting(bucket, train("1", "ann", "both.jpg"), "requests/train/gone.json")
    assert len(gone) == 3
    bucket.delete("requests/train/gone.json")
    Erasure(bucket, QUICK.lease).forget("ann")
    left = {key for key in keys(bucket) if key.startswith(("requests/", "results/", "claims/"))}
    assert left == bobs | {"requests/train/bobs.json"}
    assert not (both | gone) - bobs & set(keys(bucket))
    assert bucket.head("photos/bob/1.jpg")


def test_an_id_that_became_free_may_be_used_by_another_while_forgetting_still_sweeps(bucket):
    serve(bucket, "train", train("1", "ann", "ann/1.jpg"))
    conflicting(bucket, train("1", "bob", "bob/1.jpg"), "requests/train/bobs.json")
    forgetting = Erasure(bucket, QUICK.lease)
    forgetting.forget("ann")
    invocation = Invocation(bucket, FakeFunction("train"), QUICK, "w", Shutdown(1.0))
    assert invocation.receive(ObjectCreated("requests/train/bobs.json")) is Outcome.ANSWERED
    before = keys(bucket)
    assert forgetting.holdings("ann").keys == []
    assert forgetting.forget("ann") == []
    assert keys(bucket) == before
    assert json.loads(bucket.get("results/train/1/result.json"))["code"] == "OK"


def test_a_running_training_is_stopped_and_leaves_nothing(bucket):
    begun = threading.Event()

    def work(workspace):
        workspace.save("half.bin", b"half")
        begun.set()
        for _ in range(500):
            time.sleep(0.02)
            workspace.progress("work", 1, 2)

    outcomes = []
    body = train("t-ann", "ann", "ann/1.jpg")
    thread = threading.Thread(target=lambda: outcomes.append(serve(bucket, "train", body, FakeFunction("train", work))))
    thread.start()
    assert begun.wait(10)
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    thread.join(10)
    assert outcomes == [Outcome.BUSY]
    assert "requests/train/t-ann.json" in removed
    assert not [key for key in keys(bucket) if "t-ann" in key or "users/" in key]


def test_a_removed_request_does_not_come_back_through_the_folder_trigger(tmp_path):
    bucket, stop, fake = FolderBucket(tmp_path / "bucket"), threading.Event(), FakeFunction("train")
    bucket.put("photos/ann/1.jpg", b"photo")
    invocation = Invocation(bucket, fake, QUICK, "w", Shutdown(1.0))
    trigger = FolderTrigger(bucket, "train", Scan(seconds=0.2, settle_seconds=0.5))
    thread = threading.Thread(target=trigger.run, args=(invocation.receive, stop))
    thread.start()
    try:
        Client(bucket).submit("train", train("t-ann", "ann", "ann/1.jpg"))
        until(lambda: bucket.head("users/ann/model.json"))
        assert Erasure(bucket, QUICK.lease).forget("ann")
        time.sleep(1.0)
        assert keys(bucket) == []
        assert fake.runs == ["t-ann"]
        Client(bucket).submit("train", train("t-ann", "ann", "ann/1.jpg"))
        until(lambda: bucket.head("users/ann/model.json"))
        assert fake.runs == ["t-ann", "t-ann"], "asked anew it is served anew"
    finally:
        stop.set()
        thread.join(10)


def test_a_user_trained_again_is_served_by_the_new_version_and_the_old_one_stays(bucket):
    lived_in(bucket)
    assert json.loads(bucket.get("users/ann/model.json"))["artifact"] == "results/train/t-ann-again/a1/made.bin"
    assert bucket.head("results/train/t-ann/a1/made.bin")


def test_what_was_put_into_a_queue_for_the_user_goes_too(bucket):
    def put(service, uuid, body):
        bucket.put(f"queue/{service}/{uuid}", b'{"uuid": "u"}\n' + json.dumps(body).encode())

    put("photog_train_pmml", "1", train("t1", "ann", "ann/1.jpg"))
    put("photog_train_pmml", "2", train("t2", "bob", "bob/1.jpg"))
    put("photog_check", "3", {"request_id": "c", "images": ["photos/ann/1.jpg"]})
    people = {"user_id": ["bob", "ann"]}
    put("photog_pre_pmml", "4", {"request_id": "g", "template_image": "t.png", "configure": people})
    serve(bucket, "train", train("t1", "ann", "ann/1.jpg"))
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert [info.key for info in bucket.list("queue/")] == ["queue/photog_train_pmml/2"]
    assert "queue/photog_pre_pmml/4" in removed
    assert Erasure(bucket, QUICK.lease).holdings("ann").keys == []


def test_what_is_no_user_id_is_refused_and_nothing_is_touched(bucket):
    before = keys(lived_in(bucket))
    for user in ("", ".", "..", "../results", "a/b", "a\\b", "a\0b"):
        with pytest.raises(InvalidKey):
            Erasure(bucket, QUICK.lease).forget(user)
        with pytest.raises(InvalidKey):
            Erasure(bucket, QUICK.lease).holdings(user)
    assert keys(bucket) == before


def test_that_a_manifest_of_the_user_fails_is_forgotten_and_the_indexes_are_made_anew(bucket):
    bucket.put("requests/train/t.json", json.dumps(train("t", "ann", "ann/1.jpg")).encode())
    bucket.put("requests/train/b.json", json.dumps(train("b", "bob", "bob/1.jpg")).encode())
    for name in ("t", "b"):
        Failures(bucket, "train", "requests/train/").add(f"requests/train/{name}.json", OSError("no"))
    bucket.put("index/train", b"settled")
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert {failure_key("train", "requests/train/t.json"), "index/train"} <= set(removed)
    assert [info.key for info in bucket.list("failing/")] == [failure_key("train", "requests/train/b.json")]
    bucket.put("index/train", b"settled")
    assert Erasure(bucket, QUICK.lease).forget("ann") == [], "of somebody unknown nothing is touched"
    assert bucket.head("index/train")


GARBAGE = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"data": []}', b'{"data": {"user_id": {}}}', b"[" * 5000]


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_anywhere_does_not_stop_it(bucket, text):
    lived_in(bucket)
    garbage = (
        "requests/train/g.json",
        "requests/check/g.json",
        "results/train/g/result.json",
        "results/generate/g/result.json",
        "claims/train/g/000001.json",
        "notifications/train/g.json",
        "queue/photog_train/g",
        "failing/train/g.json",
    )
    for key in garbage:
        bucket.put(key, text)
    for key in ("users/ann/model.json", "claims/train/t-ann/000001.json", "results/generate/g-ann/result.json"):
        bucket.put(key, text)
    forgetting = Erasure(bucket, QUICK.lease)
    forgetting.forget("ann")
    held = forgetting.holdings("ann")
    assert (held.keys, held.faults) == ([], {})
    left = keys(bucket)
    assert set(garbage) <= set(left), "nobody knows whose it is"
    assert not [key for key in left if "t-ann" in key or "users/ann" in key or key == "photos/ann/1.jpg"]


def test_what_quotes_the_user_and_is_not_understood_is_told_and_left(bucket):
    bucket.put("results/train/x/result.json", b'{"request_id": "x", "data": {"user_id": "ann", "artif')
    bucket.put("requests/train/x.json", b'{"images": ["p/\xff.jpg"], "configure": {"user_id": "ann"}}')
    bucket.put("requests/train/y.json", b"{'configure': {'user_id': 'annabel'}, ")
    forgetting = Erasure(bucket, QUICK.lease)
    assert forgetting.forget("ann") == []
    assert forgetting.holdings("ann").remaining() == ["requests/train/x.json", "results/train/x/result.json"]
    assert forgetting.holdings("bob").remaining() == []


def test_a_manifest_of_the_user_that_could_not_be_served_goes_with_its_answer(bucket):
    body = {"images": ["photos/ann/1.jpg"], "configure": {"user_id": "ann"}}  # without a request_id
    bucket.put("requests/train/x.json", json.dumps(body).encode())
    invocation = Invocation(bucket, FakeFunction("train"), QUICK, "w", Shutdown(1.0))
    assert invocation.receive(ObjectCreated("requests/train/x.json")) is Outcome.ANSWERED
    assert [key for key in keys(bucket) if "invalid-" in key]
    Erasure(bucket, QUICK.lease).forget("ann")
    assert not [key for key in keys(bucket) if key.startswith(("requests/", "results/", "photos/ann/1"))]


def test_a_store_that_goes_away_ends_it_loudly():
    class Away(MemoryBucket):
        def get(self, key, largest=None):
            raise StoreUnavailable("down")

    bucket = Away()
    bucket.put("requests/train/t.json", b"{}")
    with pytest.raises(StoreUnavailable):
        Erasure(bucket, QUICK.lease).forget("ann")


def test_it_reads_each_object_once_however_many_there_are():
    class Counting(MemoryBucket):
        reads = 0

        def get(self, key, largest=None):
            self.reads += key.startswith(("requests/", "results/"))
            return super().get(key, largest)

    bucket = Counting()
    for number in range(300):
        user = "ann" if number % 2 else "bob"
        bucket.put(f"requests/train/{number}.json", json.dumps(train(f"{number}", user, f"{user}.jpg")).encode())
        answer = {"request_id": f"{number}", "code": "OK", "data": {"user_id": user}}
        bucket.put(f"results/train/{number}/result.json", json.dumps(answer).encode())
    forgetting = Erasure(bucket, QUICK.lease)
    assert len(forgetting.forget("ann")) == 300
    assert bucket.reads == 600
    assert forgetting.holdings("ann").keys == []
    assert bucket.reads == 600


def test_half_written_files_of_dead_writers_go_and_are_told(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    bucket.put("a", b"x")
    (bucket.root / ".photog/0123456789abcdef0123456789abcdef").write_bytes(b"a picture of ann")
    (bucket.root / ".photog/other").write_bytes(b"a picture of ann")
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert removed == [".photog/0123456789abcdef0123456789abcdef", ".photog/other"]
    assert list((bucket.root / ".photog").iterdir()) == []


def test_what_may_not_be_read_or_removed_is_told_and_the_rest_goes():
    with place() as folder, unprivileged():
        bucket = FolderBucket(folder / "bucket")
        bucket.put("photos/ann/1.jpg", b"photo")
        for request_id, user in (("t1", "ann"), ("t2", "ann"), ("t3", "bob")):
            serve(bucket, "train", train(request_id, user, f"{user}/1.jpg"))
        closed, fixed, secret = (
            bucket.root / name for name in ("requests/train/sub", "results/train/t1/a1", "requests/train/t3.json")
        )
        closed.mkdir(mode=0)
        fixed.chmod(0o555)
        secret.chmod(0)
        forgetting = Erasure(bucket, QUICK.lease)
        removed = forgetting.forget("ann")
        held = forgetting.holdings("ann")
        assert {"photos/ann/1.jpg", "requests/train/t2.json", "results/train/t2/result.json"} <= set(removed)
        stays = ["claims/train/t1/000001.json", "requests/train/t1.json", "results/train/t1/a1/made.bin"]
        stays.append("results/train/t1/result.json")
        assert sorted(held.keys) == stays, "with the file stays what tells whose it is"
        assert set(held.faults) == {stays[2], "requests/train/sub/", "requests/train/t3.json"}
        assert all("chmod" in why for why in held.faults.values())
        done = CliRunner().invoke(app, ["forget", str(bucket.root), "ann", "--json"])
        assert done.exit_code == 1
        assert json.loads(done.stdout)["remaining"] == held.remaining()
        for path, mode in ((closed, 0o755), (fixed, 0o755), (secret, 0o644)):
            path.chmod(mode)
        assert Erasure(bucket, QUICK.lease).forget("ann") == stays


@pytest.mark.parametrize("user", [".", ".."])
def test_the_command_line_refuses_dots(tmp_path, user):
    assert CliRunner().invoke(app, ["forget", str(tmp_path), user]).exit_code == 2


class Store(MemoryBucket):
    """A bucket with the address of an S3 store."""

    def __init__(self, address, endpoint=None):
        super().__init__()
        self.address, self.settings = address, S3Settings(endpoint=endpoint)


def put(bucket, key, body):
    bucket.put(key, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("address", "named", "url"),
    [
        ("s3://own", {}, "s3://own/"),
        ("s3://own", {}, "OSS://own/"),
        ("s3://own", {"mine": "oss://own"}, "s3://mine/"),
        ("s3://own/shop", {}, "s3://own/shop/"),
        ("s3://own/shop", {"own": "s3://own/shop"}, "s3://own/"),
        ("s3://own/shop", {"all": "s3://own"}, "oss://all/shop/"),
        ("/data/own", {"own": "/data/own"}, "s3://own/"),
        ("/data/own", {"all": "/data"}, "s3://all/own/"),
    ],
)
def test_a_photo_is_the_same_by_its_key_and_by_the_url_of_its_bucket(address, named, url):
    bucket = Store(address)
    for name in ("ann", "both", "template"):
        bucket.put(f"photos/{name}.jpg", b"photo")
    mine = [f"{url}photos/{name}.jpg" for name in ("ann", "both", "template")]
    put(bucket, "requests/train/t.json", train("t", "ann") | {"images": mine})
    put(bucket, "requests/check/c.json", {"request_id": "c", "images": mine[:1]})
    put(bucket, "requests/train/b.json", train("b", "bob", "both.jpg"))
    put(bucket, "requests/generate/g.json", generate("g", "bob") | {"template_image": mine[2]})
    Erasure(bucket, QUICK.lease, named=named).forget("ann")
    assert keys(bucket) == [
        "photos/both.jpg",
        "photos/template.jpg",
        "requests/generate/g.json",
        "requests/train/b.json",
    ]


def linked(tmp_path):
    """A folder in which photos can also be reached by links: of their folder, and of a file."""
    bucket = FolderBucket(tmp_path / "bucket")
    for name in ("ann", "both", "bob"):
        bucket.put(f"photos/{name}.jpg", b"photo")
    (bucket.root / "album").symlink_to("photos")
    (bucket.root / "favorite.jpg").symlink_to("album/ann.jpg")
    (bucket.root / "away").symlink_to(tmp_path)
    return bucket


@pytest.mark.parametrize("name", ["favorite.jpg", "album/ann.jpg", "photos/ann.jpg"])
def test_a_photo_that_is_named_by_a_link_goes_itself(tmp_path, name):
    bucket = linked(tmp_path)
    put(bucket, "requests/train/t.json", train("t", "ann") | {"images": [name, "away/x.jpg"]})
    assert Erasure(bucket, QUICK.lease).forget("ann") == ["photos/ann.jpg", "requests/train/t.json"]


def test_a_photo_that_another_person_names_by_a_link_stays(tmp_path):
    bucket = linked(tmp_path)
    put(bucket, "requests/train/t.json", train("t", "ann", "both.jpg", "bob.jpg"))
    put(bucket, "requests/train/b.json", train("b", "bob") | {"images": ["album/both.jpg"]})
    put(bucket, "requests/generate/g.json", generate("g", "bob") | {"template_image": "album/bob.jpg"})
    Erasure(bucket, QUICK.lease).forget("ann")
    assert [key for key in keys(bucket) if key.startswith("photos/")] == [
        f"photos/{n}.jpg" for n in ("ann", "bob", "both")
    ]


SIGNED = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=900&X-Amz-Signature=0123abcd"
MINIO = "http://minio:9000"
OSS = "https://oss-cn-hangzhou-internal.aliyuncs.com"


@pytest.mark.parametrize("end", ["", SIGNED, "?versionId=1", "#top"])
@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, "https://own.s3.amazonaws.com/shop/"),
        (None, "https://own.s3.eu-central-1.amazonaws.com/shop/"),
        (None, "HTTPS://Own.S3-us-west-2.amazonaws.com:443/shop/"),
        (None, "http://own.s3.dualstack.eu-central-1.amazonaws.com/shop/"),
        (None, "https://own.s3-accelerate.amazonaws.com/shop/"),
        (None, "https://own.s3.cn-north-1.amazonaws.com.cn/shop/"),
        (None, "https://s3.amazonaws.com/own/shop/"),
        (None, "https://s3.amazonaws.com/own/./x/../shop/"),
        (None, "https://own.s3\u3002amazonaws\u3002com/shop/"),
        (None, "https://s3.eu-central-1.amazonaws.com/own/shop/"),
        ("https://s3.eu-central-1.amazonaws.com", "https://own.s3.amazonaws.com/shop/"),
        (MINIO, "http://minio:9000/own/shop/"),
        (MINIO, "http://own.minio:9000/shop/"),
        ("https://storage.example.com/", "https://storage.example.com/own/shop/"),
        ("https://storage.example.com:443", "https://own.storage.example.com/shop/"),
        (OSS, "https://own.oss-cn-hangzhou.aliyuncs.com/shop/"),
        (OSS, "https://own.s3.oss-cn-hangzhou-internal.aliyuncs.com/shop/"),
    ],
)
def test_a_photo_is_the_same_by_the_http_url_of_its_bucket_signed_or_not(endpoint, url, end):
    bucket = Store("s3://own/shop", endpoint)
    bucket.put("photos/\u00e4 1.jpg", b"photo")
    put(bucket, "requests/train/t.json", train("t", "ann") | {"images": [f"{url}photos/%C3%A4%201.jpg{end}"]})
    assert Erasure(bucket, QUICK.lease).forget("ann") == ["photos/\u00e4 1.jpg", "requests/train/t.json"]


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, "https://other.s3.amazonaws.com/shop/"),
        (None, "https://s3.amazonaws.com/other/shop/"),
        (None, "https://own.s3.amazonaws.com.evil.example/shop/"),
        (None, "https://own.s3.amazonaws.com/elsewhere/"),
        (None, "https://own.example/shop/"),
        (MINIO, "http://minio:9001/own/shop/"),
        (MINIO, "https://own.s3.amazonaws.com/shop/"),
        (MINIO, "http://[/own/shop/"),
        (MINIO, "http://minio:port/own/shop/"),
    ],
)
def test_the_http_url_of_another_place_is_none_of_this_buckets_photos(endpoint, url):
    bucket = Store("s3://own/shop", endpoint)
    bucket.put("photos/1.jpg", b"photo")
    put(bucket, "requests/train/t.json", train("t", "ann") | {"images": [f"{url}photos/1.jpg"]})
    assert Erasure(bucket, QUICK.lease).forget("ann") == ["requests/train/t.json"]


@pytest.mark.parametrize(
    "url",
    ["s3://other/", "s3://own.example/", "https://own/", "s3://own/elsewhere/", "s3:x://own/shop/", "s3:///shop/"],
)
def test_the_url_of_another_place_is_none_of_this_buckets_photos(url):
    bucket = Store("s3://own/shop")
    bucket.put("photos/1.jpg", b"photo")
    put(bucket, "requests/train/t.json", train("t", "ann") | {"images": [f"{url}photos/1.jpg"]})
    assert Erasure(bucket, QUICK.lease).forget("ann") == ["requests/train/t.json"]


@pytest.mark.parametrize("pointer", ["model.json", "swaps/00000000000000000001-0123456789ab.json"])
def test_what_only_the_users_model_names_goes_and_nothing_that_is_anothers(bucket, pointer):
    folders = [f"results/train/{request_id}/a1" for request_id in ("t9", "answered", "asked")]
    for folder in folders:
        bucket.put(f"{folder}/lora.safetensors", b"lora")
        bucket.put(f"{folder}/references/0.png", b"crop")
    answer = {"request_id": "answered", "code": "OK", "data": {"user_id": "bob"}}
    put(bucket, "results/train/answered/result.json", answer)
    put(bucket, "requests/train/asked.json", train("asked", "bob", "bob/1.jpg"))
    references = [{"key": f"{folder}/references/0.png"} for folder in folders[1:]]
    model = {"lora": "results/train/t9/a1/lora.safetensors", "references": references, "note": "photos/bob/1.jpg"}
    put(bucket, f"users/ann/{pointer}", model)
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert removed == [f"{folders[0]}/lora.safetensors", f"{folders[0]}/references/0.png", f"users/ann/{pointer}"]


@pytest.mark.parametrize(
    "name", ["train/t1.json.tmp", "train/.h.json", "train/T.JSON", "foo/t1.json", "t1.json", "check/x.json"]
)
def test_what_quotes_the_user_where_no_request_is_expected_is_told(bucket, name):
    text = '{"request_id": "t1", "people": {"who": ["\\u0061nn"]}}'
    bucket.put(f"requests/{name}", text.encode())
    forgetting = Erasure(bucket, QUICK.lease)
    assert forgetting.forget("ann") == []
    assert forgetting.holdings("ann").remaining() == [f"requests/{name}"]


@pytest.mark.parametrize("spelled", ['"\\u0061nn"', "'\\x61nn'", '\\"ann\\"', "'\\141nn'"])
def test_an_id_that_is_spelled_with_escapes_is_found_in_what_is_no_json(bucket, spelled):
    bucket.put("requests/train/x.json", b'{"user_id": ' + spelled.encode() + b"},,")
    assert Erasure(bucket, QUICK.lease).holdings("ann").remaining() == ["requests/train/x.json"]


def test_what_is_larger_than_any_manifest_is_looked_through_and_never_held_whole():
    class Streamed(MemoryBucket):
        def get(self, key, largest=None):
            raise AssertionError("held whole")

        def stream(self, key):
            yield from (b" " * (1 << 20), b'"a', b'nn"')

    bucket = Streamed()
    bucket.put("requests/train/x.tmp", b" " * (21 << 20))
    assert Erasure(bucket, QUICK.lease).holdings("ann").remaining() == ["requests/train/x.tmp"]


def test_pictures_within_objects_and_a_person_beside_configure_are_the_users_too(bucket):
    put(bucket, "requests/train/t.json", train("t", "ann") | {"images": [{"url": "photos/ann/1.jpg"}]})
    put(bucket, "requests/train/u.json", {"request_id": "u", "images": ["photos/ann/2.jpg"], "user_id": "ann"})
    put(bucket, "requests/train/b.json", train("b", "bob", "bob/1.jpg") | {"user_id": "ann"})
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert removed == ["photos/ann/1.jpg", "photos/ann/2.jpg", "requests/train/t.json", "requests/train/u.json"]


SPELLINGS = [
    "Requests/train/",
    "REQUESTS/Train/",
    "requests /train/",
    "requests/Train/",
    "requests/",
    "requests/other/",
]
STRAYS = [*(f"{folder}t9.json" for folder in SPELLINGS), "requests/train/t9.json.txt", "requests/train/.t9.json"]


@pytest.mark.parametrize("name", STRAYS)
def test_a_request_that_lies_where_no_worker_reads_it_is_the_users_all_the_same(bucket, name):
    put(bucket, name, train("t9", "ann", "ann/1.jpg", "both.jpg"))
    put(bucket, f"{name}.bob", train("t9", "bob", "both.jpg"))
    put(bucket, "results/train/t9/result.json", {"request_id": "t9", "data": {"user_id": "bob"}})
    forgetting = Erasure(bucket, QUICK.lease)
    assert set(forgetting.forget("ann")) == {name, "photos/ann/1.jpg"}
    assert forgetting.holdings("ann").remaining() == []
    assert bucket.head("results/train/t9/result.json"), "nobody served it, so the answer under its id is another's"


def test_a_check_that_lies_where_no_worker_reads_it_goes_with_its_photos(bucket):
    put(bucket, "requests/train/t.json", train("t", "ann", "ann/1.jpg"))
    put(bucket, "requests/Check/c.json", {"request_id": "c", "images": ["photos/ann/1.jpg"]})
    put(bucket, "requests/Check/d.json", {"request_id": "d", "images": ["photos/bob/1.jpg"]})
    removed = Erasure(bucket, QUICK.lease).forget("ann")
    assert removed == ["photos/ann/1.jpg", "requests/Check/c.json", "requests/train/t.json"]


class Misspelled(MemoryBucket):
    """A store with a manifest under a key that photog cannot use."""

    def find_misspelled(self, root):
        yield "/requests/train/t9.json"


def test_what_cannot_be_read_because_of_its_key_is_told():
    bucket = Misspelled()
    put(bucket, "requests/train/t.json", train("t", "ann"))
    forgetting = Erasure(bucket, QUICK.lease)
    assert forgetting.forget("ann") == ["requests/train/t.json"]
    assert forgetting.holdings("ann").remaining() == ["/requests/train/t9.json"]


def test_what_lies_in_a_functions_folder_that_is_a_link_is_found(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    for folder in ("incoming", "requests"):
        (bucket.root / folder).mkdir()
    (bucket.root / "requests" / "train").symlink_to("../incoming")
    bucket.put("photos/ann.jpg", b"photo")
    put(bucket, "requests/train/t.json", train("t", "ann", "ann.jpg"))
    assert Erasure(bucket, QUICK.lease).forget("ann") == ["photos/ann.jpg", "requests/train/t.json"]
    assert list((bucket.root / "incoming").iterdir()) == []


def test_a_manifest_by_a_link_is_told(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    put(bucket, "elsewhere/t.json", train("t", "ann"))
    put(bucket, "requests/train/b.json", train("b", "bob"))
    (bucket.root / "requests/train/t.json").symlink_to("../../elsewhere/t.json")
    (bucket.root / "requests/train/gone.json").symlink_to("nowhere")
    (bucket.root / "requests/train/out.json").symlink_to("/etc/hostname")
    assert Erasure(bucket, QUICK.lease).holdings("ann").remaining() == ["requests/train/t.json"]
    assert Erasure(bucket, QUICK.lease).holdings("bob").remaining() == ["requests/train/b.json"]


class PortrayingFunction(FakeFunction):
    """A generate function that keeps people as the real one does."""

    def answer(self, body, workspace):
        configure = body["configure"]
        users = configure.get("user_id")
        users = users if isinstance(users, list) else [users]
        kept = []
        for user in users:
            if user in ("bob", "ann"):
                photos = [{"key": workspace.save(f"people/{user}/0.png", b"close-up")}]
                kept.append({"user_id": user, "lora": None, "references": photos})
        return Answer(
            {"user_id": configure.get("user_id"), "image_key": workspace.save("portrait.png", b"x"), "kept": kept}
        )

    def pointers(self, data):
        return {f"users/{one['user_id']}/model.json": one for one in data["kept"]}


def portray(bucket, request_id, references, user_id=None):
    configure = {"references": references} | ({} if user_id is None else {"user_id": user_id})
    body = {"request_id": request_id, "template_image": "templates/t.png", "configure": configure}
    serve(bucket, "generate", body, PortrayingFunction("generate"))


class TestReferences:
    """People who are known by the pictures in requests, with an id or without one."""

    def test_whoever_was_kept_by_a_portrait_is_forgotten_with_the_pictures(self, bucket):
        portray(bucket, "g-ann", ["photos/ann/1.jpg", "s3://other/x.jpg"], "ann")
        portray(bucket, "g-bob", ["photos/bob/1.jpg"], "bob")
        assert bucket.head("results/generate/g-ann/a1/people/ann/0.png")
        forgetting = Erasure(bucket, QUICK.lease)
        forgetting.forget("ann")
        assert forgetting.holdings("ann").remaining() == []
        assert [key for key in keys(bucket) if "ann/1" in key or "g-ann" in key or "users/ann" in key] == []
        assert {"photos/bob/1.jpg", "users/bob/model.json", "results/generate/g-bob/a1/people/bob/0.png"} <= set(
            keys(bucket)
        )

    def test_portraits_without_an_id_go_with_the_pictures_of_whom_they_show(self, bucket):
        serve(bucket, "train", train("t-ann", "ann", "ann/1.jpg"))
        portray(bucket, "nobody", ["photos/ann/1.jpg"])
        portray(bucket, "beside", [["photos/ann/1.jpg"], []], [None, "cat"])
        portray(bucket, "stranger", ["photos/bob/1.jpg"])
        forgetting = Erasure(bucket, QUICK.lease)
        forgetting.forget("ann")
        assert forgetting.holdings("ann").remaining() == []
        left = keys(bucket)
        assert "photos/ann/1.jpg" not in left
        assert [key for key in left if "nobody" in key or "beside" in key] == []
        assert {"photos/bob/1.jpg", "results/generate/stranger/a1/portrait.png"} <= set(left)

    def test_a_picture_that_another_person_is_kept_by_stays(self, bucket):
        portray(bucket, "g-ann", ["photos/both.jpg", "photos/ann/1.jpg"], "ann")
        portray(bucket, "g-bob", ["photos/both.jpg"], "bob")
        Erasure(bucket, QUICK.lease).forget("ann")
        assert "photos/both.jpg" in keys(bucket)
        assert "photos/ann/1.jpg" not in keys(bucket)

    @pytest.mark.parametrize("first", ["ann", "bob"])
    def test_of_two_who_were_kept_by_one_portrait_the_other_stays_known(self, bucket, first):
        second = {"ann": "bob", "bob": "ann"}[first]
        portray(bucket, "both", [["photos/ann/1.jpg"], ["photos/bob/1.jpg"]], ["ann", "bob"])
        forgetting = Erasure(bucket, QUICK.lease)
        forgetting.forget(first)
        assert forgetting.holdings(first).remaining() == []
        left = keys(bucket)
        assert f"photos/{first}/1.jpg" not in left
        assert {f"photos/{second}/1.jpg", f"users/{second}/model.json"} <= set(left)
        assert [key for key in left if key.startswith("results/")] == [
            f"results/generate/both/a1/people/{second}/0.png"
        ]
        forgetting = Erasure(bucket, QUICK.lease)
        forgetting.forget(second)
        assert forgetting.holdings(second).remaining() == []
        assert [key for key in keys(bucket) if "both/" in key or "users/" in key] == []

    @pytest.mark.parametrize("fails", [False, True])
    def test_whoever_was_kept_stays_known_though_the_id_of_that_portrait_is_used_again(self, bucket, fails):
        portray(bucket, "both", [["photos/ann/1.jpg"], ["photos/bob/1.jpg"]], ["ann", "bob"])
        Erasure(bucket, QUICK.lease).forget("ann")

        def work(workspace):
            workspace.save("portrait.png", b"of cat")
            if fails:
                raise NoFaceInTemplate("no face", "template_image")

        body = {"request_id": "both", "template_image": "templates/t.png", "configure": {"user_id": "cat"}}
        assert serve(bucket, "generate", body, FakeFunction("generate", work)) is Outcome.ANSWERED
        assert bucket.head("results/generate/both/a1/people/bob/0.png"), "bob's model names it"
        forgetting = Erasure(bucket, QUICK.lease)
        forgetting.forget("bob")
        assert forgetting.holdings("bob").remaining() == []
        left = keys(bucket)
        assert [key for key in left if "bob" in key and not key.startswith("photos/")] == []
        assert "results/generate/both/result.json" in left, "it is cat's"

    def test_who_is_only_named_in_an_odd_place_beside_references_is_told(self, bucket):
        body = {"template_image": "t.png", "configure": {"references": ["a.jpg"], "seed": 1, "mask_region": "face"}}
        bucket.put("requests/generate/r1.json", encode({"request_id": "r1"} | body))
        assert Erasure(bucket, QUICK.lease).holdings("face").remaining() == []
        body["configure"]["user"] = "ann"
        bucket.put("requests/generate/r1.json", encode({"request_id": "r1"} | body))
        assert Erasure(bucket, QUICK.lease).holdings("ann").remaining() == ["requests/generate/r1.json"]

    @pytest.mark.parametrize(
        "configure",
        [
            {"references": 7}, {"references": {"a": ["photos/ann/1.jpg"]}}, {"references": [[["photos/ann/1.jpg"]]]},
            {"references": ["photos/ann/1.jpg"], "user_id": ["ann", "bob"]}, {"references": [None, 7, []]},
            {"references": [["photos/ann/1.jpg"], ["x"]], "user_id": "ann"}, {"references": None},
        ],
    )  # fmt: skip
    def test_a_request_that_cannot_be_served_is_found_all_the_same(self, bucket, configure):
        configure = {"user_id": "ann"} | configure
        bucket.put(
            "requests/generate/r1.json", encode({"request_id": "r1", "template_image": "t", "configure": configure})
        )
        forgetting = Erasure(bucket, QUICK.lease)
        forgetting.forget("ann")
        assert "requests/generate/r1.json" not in keys(bucket)
        assert "photos/bob/1.jpg" in keys(bucket)
