"""People who are kept without a training: checked photos in, a user whom generate knows out."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from functions.train.handler import TrainFunction
from functions.train.training import Trainer
from shared.buckets import FolderBucket, MemoryBucket
from shared.contract import keys
from shared.contract.manifests import encode
from shared.contract.users import UserModel
from shared.errors import AnotherPerson, TooFewPhotos, UnknownUser
from shared.events import ObjectCreated
from shared.lifecycle.invocation import Invocation, Outcome
from shared.lifecycle.shutdown import Shutdown
from shared.models import diffusion
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.settings import Limits, ModelSettings, Settings
from tests import pictures
from tests.echo import QUICK, until
from tests.fake_workspace import FakeWorkspace
from tests.serving import Served as Queue
from tests.serving import get, put
from tests.tiny_base import make_tiny_base

KNOBS: dict[str, Any] = {
    "first_denoising_strength": 0.0,
    "second_denoising_strength": 0.0,
    "seed": 1,
    "image_format": "png",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = make_tiny_base(tmp_path_factory.mktemp("people") / "base")
    return diffusion.load_model(ModelSettings(path=str(path), device="cpu"))


@pytest.fixture(scope="module")
def train(model, engine):
    return TrainFunction(Trainer(model, engine, Limits()))


@pytest.fixture(scope="module")
def photos():
    varied = [picture[:400] for picture in pictures.variations(pictures.astronaut(), 2)]
    made = {
        "1.jpg": varied[0], "2.jpg": varied[1], "cup.jpg": pictures.coffee()[:200, :200],
        "blurred.jpg": cv2.GaussianBlur(varied[0], (0, 0), 4), "stranger.jpg": pictures.hopper(),
    }  # fmt: skip
    return {name: pictures.jpeg(picture) for name, picture in made.items()}


def body(*images, user_id="ann"):
    return {"request_id": "t1", "images": list(images), "configure": {"user_id": user_id, "max_train_steps": 0}}


def test_the_close_ups_of_kept_photos_can_be_kept_again_when_the_photos_are_gone(train, photos):
    desk = FakeWorkspace(photos, "t1", function="train")
    kept = train.answer(body("1.jpg", "2.jpg"), desk).data
    close_ups = {one["key"]: desk.objects[one["key"]] for one in kept["references"]}
    again = train.answer(body(*close_ups), FakeWorkspace(close_ups, "t2", function="train")).data
    assert (again["images_used"], again["images_rejected"]) == (2, [])


def test_checked_photos_are_kept_with_their_points_and_nothing_is_trained(train, photos):
    desk = FakeWorkspace(photos, "t1", function="train")
    data = train.answer(body("1.jpg", "cup.jpg", "stranger.jpg", "2.jpg", "blurred.jpg"), desk).data
    assert (data["user_id"], data["trained"], data["steps"], data["lora"]) == ("ann", False, 0, None)
    assert (data["best_step"], data["similarity"], data["checkpoints"]) == (None, None, [])
    assert data["images_used"] == 2
    reasons = {one["url"]: one["reason"] for one in data["images_rejected"]}
    assert reasons.keys() == {"cup.jpg", "stranger.jpg", "blurred.jpg"}
    assert reasons["blurred.jpg"] == "the face is blurred"
    folder = "results/train/t1/a1/references"
    assert desk.objects.keys() - photos.keys() == {f"{folder}/0.png", f"{folder}/1.png"}
    (pointer,) = train.pointers(data)
    assert pointer == keys.model("ann")
    user = UserModel.model_validate(train.pointers(data)[pointer])
    for reference in user.references:
        close_up = cv2.imdecode(np.frombuffer(desk.objects[reference.key], np.uint8), cv2.IMREAD_COLOR)
        inside = np.array(reference.landmarks)
        assert np.all((inside > 0) & (inside < close_up.shape[1::-1]))
    json.dumps(data)


def test_one_photo_is_enough_and_none_is_an_error_that_names_each(train, photos):
    assert train.answer(body("1.jpg"), FakeWorkspace(photos)).data["images_used"] == 1
    with pytest.raises(
        TooFewPhotos, match=r"cup\.jpg: .*no face was found; blurred\.jpg: the face is blurred"
    ) as refused:
        train.answer(body("cup.jpg", "blurred.jpg"), FakeWorkspace(photos))
    assert refused.value.field == "images"


def test_photos_of_somebody_else_are_kept_under_a_known_name_only_where_that_is_said(train, photos):
    desk = FakeWorkspace(photos, function="train")
    ((pointer, record),) = train.pointers(train.answer(body("1.jpg"), desk).data).items()
    desk.objects[pointer] = encode(record)
    stranger = body("stranger.jpg")

    def keep(said):
        return train.answer(stranger | {"configure": stranger["configure"] | {"another_person": said}}, desk).data

    with pytest.raises(AnotherPerson) as refused:
        keep("refuse")
    assert refused.value.field == "images"
    told = keep("warn")
    assert told["similarity_to_known"] < 0.45
    assert "somebody else than the ann who is known" in told["warnings"][0]
    assert keep("replace")["warnings"] == []
    assert train.answer(body("2.jpg"), desk).data["similarity_to_known"] > 0.5


class Served:
    """A bucket with the workers of train and generate, served one request at a time."""

    def __init__(self, train, generate, photos, bucket=None, settings=QUICK):
        self.bucket = bucket or MemoryBucket()
        for name, data in photos.items():
            self.bucket.put(f"photos/{name}", data)
        self.bucket.put("template.png", pictures.png(cv2.resize(pictures.hopper(), None, fx=0.5, fy=0.5)))
        self._workers = {
            one.name: Invocation(self.bucket, one, settings, one.name, Shutdown(1.0)) for one in (train, generate)
        }

    def __call__(self, function, request_id, configure, **more):
        """The answer to a request."""
        Client(self.bucket).submit(function, {"request_id": request_id, "configure": configure} | more)
        return self.answer(function, request_id)

    def answer(self, function, request_id):
        """The answer to a request whose manifest is in the bucket."""
        assert self._workers[function].receive(ObjectCreated(keys.request(function, request_id))) is Outcome.ANSWERED
        return json.loads(self.bucket.get(keys.result(function, request_id)))

    def portray(self, request_id, **configure):
        return self("generate", request_id, KNOBS | configure, template_image="template.png")

    def tidy(self):
        self._workers["generate"].tidy()


@pytest.fixture(scope="module")
def function(model, engine):
    return GenerateFunction(GenerateModels(Settings(model=ModelSettings(device="cpu")), engine, model))


@pytest.fixture
def served(train, function, photos):
    return Served(train, function, photos)


def test_later_requests_name_whom_train_has_kept_until_they_are_forgotten(served):
    kept = served("train", "t1", {"user_id": "ann", "max_train_steps": 0}, images=["photos/1.jpg", "photos/2.jpg"])
    assert kept["code"] == "OK"
    made = served.portray("g1", user_id="ann")
    assert (made["code"], made["data"]["trained"], made["data"]["warnings"]) == ("OK", False, [])
    bucket = served.bucket
    model = bucket.get(keys.model("ann"))
    for info in list(bucket.list(keys.user("ann"))):
        bucket.delete(info.key)
    assert served.portray("g2", user_id="ann")["code"] == "OK", "in a copy of the results alone"
    assert json.loads(bucket.get(keys.model("ann"))) == json.loads(model)
    Erasure(bucket, QUICK.lease).forget("ann")
    assert served.portray("g3", user_id="ann")["data"]["error"]["type"] == UnknownUser.__name__
    assert not [info.key for info in bucket.list("") if "ann" in info.key or "t1" in info.key]


def test_an_earlier_answer_does_not_stand_for_somebody_who_was_replaced_since(served):
    """The same command finds the same answer only as long as the person is the one whom it kept."""
    client = Client(served.bucket)
    given = {"images": ["photos/1.jpg"], "configure": {"user_id": "ann", "max_train_steps": 0}}
    first = client.submit_named("train", given)
    served.answer("train", first)
    assert client.submit_named("train", given) == first
    served("train", "t2", {"user_id": "ann", "max_train_steps": 0}, images=["photos/stranger.jpg"])
    again = client.submit_named("train", given)
    assert again == f"{first}-2"
    served.answer("train", again)
    assert json.loads(served.bucket.get(keys.model("ann")))["request_id"] == again
    assert client.submit_named("train", given) == again


def test_whoever_a_portrait_has_kept_is_named_and_forgotten_in_memory_too(served, function):
    cache = function._models.reference_cache
    made = served.portray("g1", user_id="bob", references=["photos/1.jpg", "photos/cup.jpg"])
    assert made["data"]["kept"][0]["user_id"] == "bob"
    assert served.portray("g2", user_id="bob")["data"]["trained"] is False
    served.tidy()
    assert len(cache._entries) == 1
    Erasure(served.bucket, QUICK.lease).forget("bob")
    assert served.portray("g3", user_id="bob")["data"]["error"]["type"] == UnknownUser.__name__
    served.tidy()
    assert len(cache._entries) == 0
    assert [info.key for info in served.bucket.list("results/")] == ["results/generate/g3/result.json"]


def test_a_training_takes_the_place_of_kept_photos_and_photos_never_that_of_a_training(served):
    """The answers' moments decide; a request that only keeps photos by `train` says expressly what it wants."""
    served.portray("g1", user_id="bob", references=["photos/1.jpg"])
    served("train", "t1", {"user_id": "bob", "max_train_steps": 0}, images=["photos/2.jpg"])
    assert json.loads(served.bucket.get(keys.model("bob")))["request_id"] == "t1"
    served.portray("g2", user_id="bob", references=["photos/1.jpg"])
    assert json.loads(served.bucket.get(keys.model("bob")))["request_id"] == "g2"


@pytest.mark.parametrize(
    "changes",
    [
        {"references": "anothers"}, {"lora": "own"}, {"user_id": "ann"}, {"references": "elsewhere"},
    ],
)  # fmt: skip
def test_a_model_that_no_portrait_can_have_kept_is_refused(served, changes):
    """Whoever writes into the bucket puts nobody's pictures under another's id."""
    served.portray("g1", user_id="bob", references=["photos/1.jpg"])
    record = json.loads(served.bucket.get(keys.model("bob")))
    own = record["references"][0]["key"]
    served.bucket.put("results/generate/g1/a1/people/ann/0.png", served.bucket.get(own))
    named = {"anothers": "results/generate/g1/a1/people/ann/0.png", "elsewhere": "photos/1.jpg"}
    if "lora" in changes:
        changes = {"lora": own}
    if "references" in changes:
        changes = {"references": [record["references"][0] | {"key": named[changes["references"]]}]}
    served.bucket.put(keys.model("bob"), encode(record | changes))
    error = served.portray("g2", user_id="bob")["data"]["error"]
    assert error["type"] == UnknownUser.__name__


class PhotoHandler(BaseHTTPRequestHandler):
    """Answers every request with the server's photo."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.photo)))
        self.end_headers()
        self.wfile.write(self.server.photo)

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture
def address(photos):
    """The address of a server of one photo."""
    with ThreadingHTTPServer(("127.0.0.1", 0), PhotoHandler) as server:
        server.photo = photos["1.jpg"]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/1.jpg"
        server.shutdown()
        thread.join()


def test_a_reference_may_be_of_every_kind_that_images_are(train, function, photos, address, tmp_path):
    FolderBucket(tmp_path / "other").put("faces/1.jpg", photos["1.jpg"])
    settings = QUICK.model_copy(update={"buckets": {"other": str(tmp_path / "other")}, "private_addresses": True})
    served = Served(train, function, photos, settings=settings)
    embedded = base64.b64encode(photos["1.jpg"]).decode()
    kinds = {
        "key": "photos/1.jpg", "s3": "s3://other/faces/1.jpg", "oss": "oss://other/faces/1.jpg", "http": address,
        "data": f"data:image/jpeg;base64,{embedded}", "base64": embedded,
    }  # fmt: skip
    for kind, reference in kinds.items():
        data = served.portray(kind, references=[reference])["data"]
        assert [len(one["used"]) for one in data["references"]] == [1], kind
        left = {info.key for info in served.bucket.list("results/")}
        assert {key for key in left if f"/{kind}/" in key} == {data["image_key"], keys.result("generate", kind)}
    data = served.portray("gone", references=["photos/1.jpg", "photos/gone.jpg", "s3://unknown/a.jpg"])["data"]
    assert [one["url"] for one in data["references"][0]["rejected"]] == ["photos/gone.jpg", "s3://unknown/a.jpg"]


def test_the_sdk_s_queue_takes_references_and_gives_the_portrait(train, function, photos, tmp_path):
    queue = Queue(tmp_path)
    served = Served(train, function, photos, queue.bucket)
    path = "/api/predict/photog_pre_pmml"
    configure = {name: value for name, value in KNOBS.items() if name != "image_format"}
    body = {"request_id": "p1", "template_image": "template.png", "configure": configure}
    body["configure"] |= {"references": ["photos/1.jpg", "photos/cup.jpg"], "user_id": "bob"}
    with queue.running() as client:
        _, identity = put(client, json.dumps(body), path)
        until(lambda: queue.bucket.head(keys.request("generate", "p1")))
        served.answer("generate", "p1")
        [frame] = get(client, f"{path}/sink", requestId=identity)
    answer = json.loads(frame.data)
    assert (answer["code"], answer["data"]["trained"]) == ("OK", False)
    assert b"embedding" in queue.bucket.get(keys.result("generate", "p1"))
    assert not any(one in frame.data for one in (b"embedding", b"landmarks"))
    assert answer["data"]["kept"][0]["references"][0].keys() == {"key"}
    assert base64.b64decode(answer["data"]["image"]).startswith(b"\x89PNG")
    assert [one["url"] for one in answer["data"]["references"][0]["rejected"]] == ["photos/cup.jpg"]
    assert served.portray("p2", user_id="bob")["code"] == "OK"
