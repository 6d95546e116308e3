"""GPUs that fail while a request runs: no photo is blamed, and a worker whose GPU is broken ends."""

import json
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
import typer
from onnxruntime.capi import onnxruntime_pybind11_state as onnx
from typer.testing import CliRunner

from functions.check.handler import CheckFunction
from functions.generate import handler as generate
from functions.generate import template
from functions.generate.models import GenerateModels
from functions.generate.networks.image_network import NetworkMissing
from functions.generate.networks.person_network import PersonNetwork
from functions.train import handler as train
from functions.train.dataset import prepare_dataset
from functions.train.plan import TrainingPlan
from functions.train.training import Trainer
from shared.buckets import FolderBucket, MemoryBucket
from shared.cli import app, doctor, queues
from shared.cli.failures import one_line
from shared.contract.function import DeviceBroken
from shared.errors import DeviceError, OutOfMemory
from shared.events import ObjectCreated
from shared.faces import FaceError
from shared.faces.dlib import DlibEngine
from shared.faces.insightface import InsightfaceEngine
from shared.faces.onnx_sessions import open_session, providers
from shared.lifecycle.invocation import Outcome
from shared.models.diffusion import ModelProfile
from shared.runtime.worker import Worker
from shared.settings import FaceSettings, Limits, Settings
from tests import pictures
from tests.echo import QUICK, Echo, invocation
from tests.fake_workspace import FakeWorkspace
from tests.toy_onnx import model_folder

LIMITS = Limits()
PHOTO = pictures.jpeg(np.full((64, 64, 3), 99, np.uint8))
CHIP = np.zeros((112, 112, 3), np.uint8)
FULL = onnx.RuntimeException("BFCArena: Available memory of 1024 is smaller than requested bytes of 4096")
ILLEGAL = onnx.Fail("CUDA failure 700: an illegal memory access was encountered ; GPU=0")
BROKEN = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
OF_THE_DEVICE = [
    (FULL, OutOfMemory),
    (ILLEGAL, DeviceBroken),
    (onnx.Fail("Non-zero status code returned while running Conv node"), DeviceError),
    (onnx.EPFail("the provider failed"), DeviceError),
]


def ids(value: object) -> str:
    return getattr(value, "__name__", type(value).__name__)


class Failing:
    """An onnxruntime session of which every run, or every run with several inputs, fails."""

    def __init__(self, session, error: Exception, alone: bool = True) -> None:
        self._session, self._error, self._alone = session, error, alone
        self.runs: list[int] = []

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, names, inputs):
        (blob,) = inputs.values()
        self.runs.append(len(blob))
        if self._alone or len(blob) > 1:
            raise self._error
        return self._session.run(names, inputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def toy(folder) -> InsightfaceEngine:
    return InsightfaceEngine(FaceSettings(engine="insightface", model=str(folder), provider="cpu"))


def broken(engine: InsightfaceEngine, error: Exception) -> InsightfaceEngine:
    for network in (engine._detector, engine._landmarks, engine._recognizer):
        network.session = Failing(network.session, error)
    return engine


# --- whose fault it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "kind"), OF_THE_DEVICE, ids=ids)
def test_a_network_that_cannot_be_run_is_no_fault_of_the_picture(toy, error, kind):
    broken(toy, error)
    for look in (lambda: toy.detect(np.zeros((640, 640, 3), np.uint8)), lambda: toy.embed_all([CHIP])):
        with pytest.raises(kind) as told:
            look()
        assert type(told.value) is kind


def test_an_input_that_the_network_does_not_take_is_one(toy):
    broken(toy, onnx.InvalidArgument("Got invalid dimensions for input"))
    with pytest.raises(FaceError):
        toy.detect(np.zeros((640, 640, 3), np.uint8))
    assert [type(one) for one in toy.embed_all([CHIP])] == [FaceError]


def test_a_face_that_cannot_be_embedded_takes_no_other_with_it(toy):
    failing = Failing(toy._recognizer.session, onnx.InvalidArgument("one of them is odd"), alone=False)
    toy._recognizer.session = failing
    vectors = toy.embed_all([np.full((112, 112, 3), 99, np.uint8)] * 3)
    assert [isinstance(one, FaceError) for one in vectors] == [False] * 3
    assert failing.runs == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error while calling cudaMalloc(&data, n) in file x.cpp:28. code: 2, reason: out of memory", OutOfMemory),
        ("Error while calling cudnnConvolutionForward(...) in file x.cpp:9. code: 8, reason: failed", DeviceBroken),
        ("Unsupported image type, must be 8bit gray or RGB image.", FaceError),
    ],
)
def test_dlib_on_a_gpu_is_judged_by_what_it_says(said, kind, monkeypatch):
    engine = DlibEngine.__new__(DlibEngine)

    def search(image):
        raise RuntimeError(said)

    monkeypatch.setattr(engine, "_by_histogram", search, raising=False)
    with pytest.raises(kind):
        engine.detect(CHIP)


@pytest.mark.parametrize(("error", "kind"), OF_THE_DEVICE, ids=ids)
def test_no_photo_is_refused_for_a_gpu_that_fails(toy, error, kind):
    broken(toy, error)
    objects = {f"photos/{number}": PHOTO for number in range(5)}
    workspace, names = FakeWorkspace(objects), list(objects)
    with pytest.raises(kind):
        CheckFunction(toy, LIMITS).answer({"request_id": "r1", "images": names}, workspace)
    with pytest.raises(kind):  # and not TooFewPhotos
        prepare_dataset(names, workspace, toy, ModelProfile(), LIMITS)
    with pytest.raises(kind):  # and not PhotoError
        template.find_faces(CHIP, "photos/1", toy)


# --- once more ---------------------------------------------------------------------------------------------------


def test_check_embeds_one_face_after_the_other_where_all_at_once_are_too_many(toy, monkeypatch):
    runs, real = [], toy.embed_all

    def embed_all(chips):
        runs.append(len(chips))
        if len(chips) > 1:
            raise FULL
        return real(chips)

    monkeypatch.setattr(toy, "embed_all", embed_all)
    lit = np.zeros((640, 640, 3), np.uint8)
    lit[288:320, 320:352] = 255
    objects = {f"photos/{number}": pictures.png(lit) for number in range(3)}
    answer = CheckFunction(toy, LIMITS).answer({"request_id": "r1", "images": list(objects)}, FakeWorkspace(objects))
    assert runs == [3, 1, 1, 1]
    assert [one["code"] for one in answer.data["check_results"]] == [1, 1, 1]


def test_generate_takes_one_face_at_a_time_then(monkeypatch):
    models = GenerateModels.__new__(GenerateModels)
    models.settings, models.lora_cache = Settings(), object()
    seen = []

    def run(body, workspace, models):
        seen.append((models.settings.generate.faces_at_once, models.lora_cache))
        if len(seen) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "answer"

    monkeypatch.setattr(generate, "make_portrait", run)
    assert generate.GenerateFunction(models).answer({}, FakeWorkspace()) == "answer"
    assert seen == [(4, models.lora_cache), (1, models.lora_cache)]
    assert models.settings.generate.faces_at_once == 4, "the next request has all of them again"


def test_train_takes_one_picture_a_pass_then_and_as_many_an_update(monkeypatch):
    model = SimpleNamespace(working=ModelProfile(), architecture="sd15")
    plans = []

    def run(request, workspace, trainer):
        plans.append(trainer.choose_plan())
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train, "train_person", run)
    body = {"request_id": "r1", "images": [f"photos/{n}" for n in range(5)], "configure": {"user_id": "ann"}}
    with pytest.raises(OutOfMemory):
        train.TrainFunction(Trainer(model, None, LIMITS)).answer(body, FakeWorkspace())
    assert [(plan.batch, plan.accumulation) for plan in plans] == [(4, 1), (1, 4)]
    assert plans[1] == TrainingPlan.for_model(ModelProfile()).model_copy(update={"batch": 1, "accumulation": 4})


# --- a GPU that stays broken ------------------------------------------------------------------------------------


def fails(error: Exception, times: int = 1000) -> Echo:
    left = iter([error] * times)

    def work(body, workspace) -> None:
        if (found := next(left, None)) is not None:
            raise found

    return Echo(work)


def put(bucket, request_id: str = "r1") -> ObjectCreated:
    key = f"requests/check/{request_id}.json"
    bucket.put(key, json.dumps({"request_id": request_id}).encode())
    return ObjectCreated(key)


def answer(bucket, request_id: str = "r1") -> dict:
    return json.loads(bucket.get(f"results/check/{request_id}/result.json"))


def test_a_request_whose_gpu_broke_is_answered_by_the_next_worker_as_if_nothing_had_been():
    bucket = MemoryBucket()
    with pytest.raises(DeviceBroken):
        invocation(bucket, fails(BROKEN)).receive(put(bucket))
    assert [info.key for info in bucket.list("results/check/r1/") if info.key.endswith("result.json")] == []
    assert invocation(bucket, Echo(), owner="w2").receive(put(bucket)) is Outcome.ANSWERED
    assert answer(bucket)["code"] == "OK"


def test_gpus_that_break_count_as_no_attempt():
    bucket = MemoryBucket()
    for _ in range(QUICK.lease.attempts - 1):
        with pytest.raises(DeviceBroken):
            invocation(bucket, fails(BROKEN)).receive(put(bucket))
    died = QUICK.lease.attempts - 1
    for number in range(died):  # as many as may die besides
        claim = f"claims/check/r1/{QUICK.lease.attempts + number:06d}.json"
        record = json.loads(bucket.get("claims/check/r1/000001.json")) | {"released": False, "ended": "died"}
        bucket.put(claim, json.dumps(record).encode())
    assert invocation(bucket, Echo()).receive(put(bucket)) is Outcome.ANSWERED
    assert answer(bucket)["code"] == "OK"


def test_a_request_that_breaks_one_gpu_after_another_ends_in_an_answer_that_may_be_asked_again():
    bucket = MemoryBucket()
    for _ in range(QUICK.lease.attempts):
        with pytest.raises(DeviceBroken):
            invocation(bucket, fails(BROKEN)).receive(put(bucket))
    echo = fails(BROKEN)
    assert invocation(bucket, echo).receive(put(bucket)) is Outcome.ANSWERED
    assert echo.runs == []
    assert answer(bucket)["data"]["error"] == {"type": "DeviceError", "retryable": True, "retry_after": 60}
    assert "illegal memory access" in answer(bucket)["message"]
    assert "(3 times)" in answer(bucket)["message"]


def test_a_gpu_that_is_full_is_answered_and_the_worker_goes_on():
    bucket = MemoryBucket()
    worker = invocation(bucket, fails(torch.OutOfMemoryError("CUDA out of memory"), times=1))
    assert worker.receive(put(bucket)) is Outcome.ANSWERED
    assert answer(bucket)["data"]["error"] == {"type": "OutOfMemory", "retryable": True, "retry_after": 60}
    assert worker.receive(put(bucket, "r2")) is Outcome.ANSWERED
    assert answer(bucket, "r2")["code"] == "OK"


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the signal handlers that a verb sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_worker_whose_gpu_broke_hands_its_request_back_takes_no_other_and_ends_with_status_1(tmp_path):
    bucket, echo = FolderBucket(tmp_path), fails(BROKEN)
    for request_id in ("r1", "r2"):
        put(bucket, request_id)
    worker = Worker("check", bucket, QUICK, lambda name, settings: echo)
    with pytest.raises(typer.Exit) as ended, one_line():
        worker.run()
    worker._shutdown.request()  # for its threads, which end with the process elsewhere
    assert ended.value.exit_code == 1
    assert len(echo.runs) == 1
    (claim,) = [json.loads(bucket.get(info.key)) for info in bucket.list("claims/check/")]
    assert claim["released"]
    assert "illegal memory access" in claim["ended"]


@pytest.mark.usefixtures("signals")
def test_a_job_whose_gpu_broke_asks_for_another_attempt(tmp_path, monkeypatch):
    monkeypatch.setattr(queues, "isolate_function", lambda name, settings: fails(BROKEN))
    put(FolderBucket(tmp_path))
    ended = CliRunner().invoke(app, ["job", "check", str(tmp_path), "requests/check/r1.json"])
    assert ended.exit_code == 75
    assert "illegal memory access" in ended.output


# --- a GPU that is asked for ------------------------------------------------------------------------------------


def test_networks_are_told_their_gpu_their_memory_and_their_threads(folder, monkeypatch):
    asked = {}

    class Session:
        def __init__(self, path, options, providers):
            asked.update(providers=providers, threads=(options.intra_op_num_threads, options.inter_op_num_threads))

        def disable_fallback(self):
            asked["fallback"] = False

        def get_providers(self):
            return [self.first for self.first, *_ in asked["providers"][:1]]

    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    settings = FaceSettings(provider="cuda", device_id=1, arena_mebibytes=512, intra_threads=3, inter_threads=2)
    open_session(folder / "rec_toy.onnx", settings)
    gpu = {"device_id": 1, "gpu_mem_limit": 512 * 2**20, "arena_extend_strategy": "kSameAsRequested"}
    assert asked == {
        "providers": [("CUDAExecutionProvider", gpu), "CPUExecutionProvider"],
        "threads": (3, 2),
        "fallback": False,
    }


def test_the_cpu_is_the_cpu_whatever_else_there_is(monkeypatch):
    assert providers(FaceSettings(provider="cpu", device_id=1), "CPUExecutionProvider") == ["CPUExecutionProvider"]


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA here")
def test_the_people_network_never_falls_to_the_cpu_where_a_gpu_is_asked_for(folder):
    with pytest.raises(NetworkMissing, match=r"PEOPLE_NETWORK.*onnxruntime has no CUDAExecutionProvider"):
        PersonNetwork(folder / "rec_toy.onnx", FaceSettings(provider="cuda"))


def test_memory_that_is_taken_while_a_network_loads_is_worth_another_start(folder, monkeypatch):
    def session(*arguments, **named):
        raise FULL

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(OutOfMemory):
        open_session(folder / "rec_toy.onnx", FaceSettings(provider="cpu"))


KINDS = [kind for kind in vars(onnx).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", [*KINDS, RuntimeError], ids=lambda kind: kind.__name__)
def test_doctor_says_it_where_a_network_cannot_be_loaded_whatever_onnxruntime_raises(kind, folder, monkeypatch):
    def session(*arguments, **named):
        raise kind("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    said = doctor._faces(Settings(faces=FaceSettings(engine="insightface", model=str(folder), provider="cpu")))
    assert "driver version is insufficient" in said["missing"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(
    ("variable", "extra"),
    [("PHOTOG_MODEL__DEVICE", {}), ("PHOTOG_FACES__PROVIDER", {"PHOTOG_FACES__ENGINE": "insightface"})],
)
def test_doctor_fails_where_a_gpu_is_asked_for_and_none_is_there(variable, extra, folder, monkeypatch):
    for name, value in ({variable: "cuda", "PHOTOG_FACES__MODEL": str(folder)} | extra).items():
        monkeypatch.setenv(name, value)
    examined = CliRunner().invoke(app, ["doctor", "--json", "--no-load"])
    assert examined.exit_code == 1
    part = json.loads(examined.stdout)["diffusion" if variable == "PHOTOG_MODEL__DEVICE" else "faces"]
    assert "cuda" in part["missing"].lower()
