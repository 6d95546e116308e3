"""People whose model is for another base model or face engine: found without a LoRA, retrained by one command."""

import json

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket
from shared.cli import app
from shared.contract import keys
from shared.contract.function import Answer
from shared.contract.manifests import encode, failure
from shared.contract.users import UserModel
from shared.errors import AttemptsExhausted, TooFewPhotos
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.operations.people import CHUNK, find_person, list_people
from shared.operations.stale_people import NotRetrainable, find_stale, plan_retraining, retrain
from tests.echo import QUICK


class Training:
    """Leaves what train leaves, for a base model; it trains nothing."""

    name = "train"

    def __init__(self, base_model="portrait-tiny"):
        self.base_model, self.bodies = base_model, []

    def answer(self, body, workspace):
        self.bodies.append(body)
        user, trained = body["configure"]["user_id"], body["configure"].get("max_train_steps", 400) > 0
        references = [reference(workspace.save(f"references/{n}.png", b"face")) for n in range(len(body["images"]))]
        lora = workspace.save("lora.safetensors", b"weights") if trained else None
        return Answer(model(user, workspace.request_id, lora, references, self.base_model))

    def evict(self, exists):
        """Nothing is kept."""

    def pointers(self, data):
        return {keys.model(data["user_id"]): UserModel(**data).model_dump(mode="json")}


def reference(key):
    return {"key": key, "landmarks": [(0.0, 0.0)] * 68, "box": (0, 0, 9, 9), "embedding": [1.0]}


def model(user, request_id, lora, references, base_model="portrait-tiny", face_engine="mesh"):
    told = {"user_id": user, "request_id": request_id, "lora": lora, "base_model": base_model}
    return told | {"face_engine": face_engine, "trigger": "", "references": references}


@pytest.fixture
def bucket(tmp_path):
    made = FolderBucket(tmp_path / "bucket")
    for number in range(6):
        made.put(f"photos/{number}.jpg", b"photo")
    return made


def train(bucket, user, function=None, images=5, **knobs):
    """Train a user by a request whose key is not its id, as applications write them."""
    function, name = function or Training(), f"{user}-1"
    body = {
        "request_id": name,
        "images": [f"photos/{number}.jpg" for number in range(images)],
        "configure": {"user_id": user} | knobs,
        "metadata": {"order": 7},
    }
    key = f"requests/train/2026/{name}-of-shop.json"
    bucket.put(key, encode(body))
    assert serve(bucket, function, key) is Outcome.ANSWERED
    return body


def serve(bucket, function, key):
    return Invocation(bucket, function, QUICK, "w", Shutdown(1.0)).receive(ObjectCreated(key))


def run(bucket, *arguments, status=0):
    done = CliRunner().invoke(app, ["people", "--bucket", str(bucket.root), *arguments])
    assert done.exit_code == status, done.output
    return done


def listed(bucket, *arguments):
    return json.loads(run(bucket, "--stale", "--json", *arguments).stdout)


@pytest.fixture
def other_base(monkeypatch):
    monkeypatch.setenv("PHOTOG_MODEL__PATH", "/models/sd15")


def test_a_lora_of_another_base_model_and_vectors_of_another_engine_are_stale_and_nothing_else_is(bucket):
    train(bucket, "ann")
    train(bucket, "bob", Training("sd15"))
    train(bucket, "kept", Training("sd15"), max_train_steps=0)
    found = list(find_stale(list_people(bucket), "portrait-tiny", "mesh"))
    assert [(one.person.user_id, one.base_model, one.face_engine) for one in found] == [("bob", "portrait-tiny", None)]
    others = list(find_stale(list_people(bucket), "portrait-tiny", "insightface/buffalo_l"))
    assert [one.person.user_id for one in others] == ["ann", "bob", "kept"]
    assert "trained on sd15, not portrait-tiny: portraits leave the LoRA out; face vectors of mesh" in (
        others[1].explain()
    )


def test_finding_them_writes_nothing_and_reads_no_lora(bucket, other_base, monkeypatch):
    train(bucket, "ann")
    before, read = {info.key for info in bucket.list("")}, []
    get = FolderBucket.get
    monkeypatch.setattr(FolderBucket, "get", lambda self, key, *more: (read.append(key), get(self, key, *more))[1])
    shown = run(bucket, "--stale")
    assert "trained on portrait-tiny, not sd15" in shown.stdout
    assert "would be retrained on the 5 photos of its request ann-1" in shown.stdout
    assert "--train asks for these trainings" in shown.stderr
    assert {info.key for info in bucket.list("")} == before
    assert not [key for key in read if key.endswith(".safetensors")]
    assert f"{keys.model('ann')}" in read


def test_one_command_asks_for_the_training_again_and_asking_twice_asks_once(bucket, other_base):
    body = train(bucket, "ann", max_train_steps=900)
    told = listed(bucket, "--train")
    (one,) = told["stale"]
    assert (one["retraining"], told["base_model"], told["more"]) == ("asked for", "sd15", False)
    sent = json.loads(bucket.get(keys.request("train", one["request_id"])))
    assert sent == body | {"request_id": one["request_id"]}
    assert [again["retraining"] for again in listed(bucket, "--train")["stale"]] == ["waiting"]
    assert len(list(bucket.list("requests/"))) == 2
    assert serve(bucket, Training("sd15"), keys.request("train", one["request_id"])) is Outcome.ANSWERED
    assert listed(bucket)["stale"] == []
    assert "nobody is stale: all models are for sd15 and mesh" in run(bucket, "--stale").stderr


def test_a_second_change_of_the_base_model_is_another_retraining(bucket, other_base, monkeypatch):
    train(bucket, "ann")
    (first,) = listed(bucket, "--train")["stale"]
    serve(bucket, Training("sd15"), keys.request("train", first["request_id"]))
    monkeypatch.setenv("PHOTOG_MODEL__PATH", "portrait-tiny")
    (second,) = listed(bucket, "--train")["stale"]
    serve(bucket, Training(), keys.request("train", second["request_id"]))
    assert listed(bucket)["stale"] == []
    monkeypatch.setenv("PHOTOG_MODEL__PATH", "/models/sd15")
    (third,) = listed(bucket, "--train")["stale"]
    assert third["retraining"] == "asked for"
    assert len({first["request_id"], second["request_id"], third["request_id"]}) == 3


def test_a_retraining_that_failed_is_asked_for_under_a_new_id(bucket, other_base):
    train(bucket, "ann")
    (one,) = listed(bucket, "--train")["stale"]
    bucket.put(keys.result("train", one["request_id"]), encode(failure(one["request_id"], TooFewPhotos("no"), {})))
    (again,) = listed(bucket, "--train")["stale"]
    assert (again["retraining"], again["request_id"]) == ("asked for", f"{one['request_id']}-2")


def test_where_the_photos_are_gone_the_close_ups_are_used_and_too_few_say_what_to_do(bucket, other_base):
    train(bucket, "ann", images=6)
    train(bucket, "bob", images=3)
    bucket.delete("photos/0.jpg")
    told = {one["user_id"]: one for one in listed(bucket, "--train")["stale"]}
    sent = json.loads(bucket.get(keys.request("train", told["ann"]["request_id"])))
    assert sent["images"] == [f"results/train/ann-1/a1/references/{number}.png" for number in range(6)]
    assert sent["configure"] == {"user_id": "ann"}
    assert told["bob"]["retraining"] == "impossible"
    assert "3 close-ups are too few to train on; send new photos" in told["bob"]["why"]


def test_photos_that_could_not_be_had_are_replaced_by_the_close_ups_and_no_other_failure_does_that(bucket, other_base):
    train(bucket, "ann")
    sources = []
    for error in (AttemptsExhausted("died"), TooFewPhotos("0 of 5: the links have expired"), None):
        (told,) = listed(bucket, "--train")["stale"]
        sources.append(told["source"])
        if error is not None:
            bucket.put(keys.result("train", told["request_id"]), encode(failure(told["request_id"], error, {})))
    assert sources[:2] == ["the 5 photos of its request ann-1"] * 2
    assert sources[2] == "the 5 close-ups that are kept"


def test_what_is_damaged_of_one_person_stops_nobody_else(bucket, other_base):
    for user in ("ann", "bob", "zoe"):
        train(bucket, user)
    damaged = {one["user_id"]: one["request_id"] for one in listed(bucket)["stale"]}
    bucket.put(keys.result("train", damaged["ann"]), b"no answer")
    made = json.loads(bucket.get(keys.model("bob")))
    bucket.put(keys.model("bob"), encode(made | {"request_id": "a//b"}))
    told = listed(bucket, "--train")["stale"]
    assert [one["retraining"] for one in told] == ["impossible", "impossible", "asked for"]
    assert "is no answer of photog's" in told[0]["why"]


@pytest.mark.parametrize("steps", [400, 0])
def test_nothing_is_asked_for_somebody_who_is_forgotten_meanwhile(bucket, steps):
    train(bucket, "ann", max_train_steps=steps)
    (stale,) = find_stale(list_people(bucket), "sd15", "insightface/buffalo_l")
    planned = plan_retraining(bucket, stale)
    Erasure(bucket, QUICK.lease).forget("ann")
    with pytest.raises(NotRetrainable, match="forgotten"):
        retrain(bucket, planned)
    with pytest.raises(NotRetrainable, match="forgotten"):
        plan_retraining(bucket, stale)
    assert not list(bucket.list(keys.REQUESTS))


def test_somebody_who_is_only_kept_is_kept_anew_for_another_engine(bucket, monkeypatch):
    train(bucket, "kept", max_train_steps=0)
    bucket.delete("photos/0.jpg")
    monkeypatch.setenv("PHOTOG_FACES__ENGINE", "dlib")
    (one,) = listed(bucket, "--train")["stale"]
    sent = json.loads(bucket.get(keys.request("train", one["request_id"])))
    assert sent["configure"] == {"user_id": "kept", "max_train_steps": 0}


def test_a_fleet_is_retrained_some_at_a_time(bucket, other_base):
    for number in range(5):
        train(bucket, f"u{number}")
    first = listed(bucket, "--limit", "2")
    assert ([one["user_id"] for one in first["stale"]], first["more"]) == (["u0", "u1"], True)
    assert [one["user_id"] for one in listed(bucket, "--after", "u3")["stale"]] == ["u4"]
    for asked in (2, 2, 1, 0):
        told = listed(bucket, "--train", "--limit", "2")["stale"]
        assert sum(one["retraining"] == "asked for" for one in told) == asked
    assert len(list(bucket.list("requests/train/retrain-"))) == 5
    shown = run(bucket, "--stale", "--train", "--limit", "2")
    assert "asked for 0 trainings" in shown.stderr


def test_more_people_than_are_read_at_once_come_in_order(bucket):
    for number in range(CHUNK + 3):
        told = model(f"u{number:04}", "r", None, [reference("results/generate/r/a1/x.png")])
        bucket.put(keys.model(told["user_id"]), encode(told))
    found = [one.user_id for one in list_people(bucket)]
    assert found == [f"u{number:04}" for number in range(CHUNK + 3)]
    assert [one.user_id for one in list_people(bucket, "u0256")] == ["u0257", "u0258"]


def test_options_of_stale_alone_are_refused(bucket):
    bucket.put("users/x/photos/1.jpg", b"photo")
    assert "photog people --stale --train" in run(bucket, "--train", status=2).stderr


def test_a_persons_model_is_the_one_that_is_found(bucket):
    train(bucket, "ann")
    person = find_person(bucket, "ann")
    assert person is not None
    assert (person.request_id, person.face_engine, person.photos) == ("ann-1", "mesh", 5)
    assert find_person(bucket, "nobody") is None
    assert Client(bucket).answer("train", "ann-1") is not None
