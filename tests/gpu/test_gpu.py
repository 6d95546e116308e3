"""A real NVIDIA GPU, the first thing to run where there is one: `make test-gpu`; docs/gpu.md says what it shows.

Everything is on the embedded base model, so nothing is downloaded. Without a GPU all of it is skipped, but where a
driver sees a GPU that torch cannot use the first test fails and says why. PHOTOG_TEST_CARD=cuda:1 takes another GPU.
"""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from functions.train.handler import TrainFunction
from functions.train.training import Trainer
from shared.devices import device_errors, once_more_with_less
from shared.devices.gpu import computes_in_bfloat16, describe, require_gpu
from shared.errors import OutOfMemory
from shared.models import diffusion
from shared.photos import decode_photo
from shared.settings import FaceSettings, Limits, ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import FakeWorkspace
from tests.toy_onnx import model_folder
from tests.trained_users import lora, make_trained_user

log = logging.getLogger(__name__)

GPU = os.environ.get("PHOTOG_TEST_CARD", "cuda")
SEEN_BY_THE_DRIVER = Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()
LEVELS = 8.0  # of 255, mean over the face: what reduced precision may change of a portrait
WHO = "ann"
KNOBS = {"user_id": WHO, "seed": 1, "image_format": "png", "photo_enhancement_bool": False}

with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


@pytest.fixture(scope="module")
def model() -> diffusion.DiffusionModel:
    return diffusion.load_model(ModelSettings(device=GPU))


@pytest.fixture(scope="module")
def people(engine, tmp_path_factory) -> dict[str, bytes]:
    base = diffusion.load_model(ModelSettings(device="cpu"))
    made = lora(base.denoiser, str(tmp_path_factory.mktemp("loras")), scale=0.05)
    return make_trained_user(WHO, [pictures.astronaut()[:320, 60:380]], engine, made, base.name)


def worker(device: str, engine) -> GenerateFunction:
    """generate with a model of its own, as each process has it: its adapters stay in the UNet."""
    return GenerateFunction(GenerateModels(Settings(), engine, diffusion.load_model(ModelSettings(device=device))))


def portrait(function: GenerateFunction, people: dict[str, bytes]) -> np.ndarray:
    """Of the small template, RGB."""
    workspace = FakeWorkspace(people | {"template.png": pictures.png(pictures.hopper()[::2, ::2])})
    body = {"request_id": "r1", "template_image": "template.png", "configure": KNOBS}
    data = function.answer(body, workspace).data
    return decode_photo(workspace.objects[data["image_key"]], Limits()).image.astype(float)


@pytest.mark.skipif(not SEEN_BY_THE_DRIVER and not torch.cuda.is_available(), reason="there is no GPU here")
def test_torch_can_use_the_gpu_that_the_driver_sees():
    require_gpu(torch.device(GPU))
    seen = describe(torch.device(GPU))
    log.info("%s, torch %s, onnxruntime %s", seen, torch.__version__, onnxruntime.__version__)


@with_gpu
def test_the_model_lies_on_the_gpu_in_the_precision_that_it_computes_in(model):
    assert model.device == torch.device(GPU)
    assert next(model.denoiser.parameters()).device.type == "cuda"
    expected = torch.bfloat16 if computes_in_bfloat16(model.device) else torch.float16
    assert model.dtype == expected


@with_gpu
def test_a_portrait_is_that_of_the_cpu_within_some_levels_and_comes_again_the_same(engine, people):
    by_cpu, on_gpu = portrait(worker("cpu", engine), people), worker(GPU, engine)
    torch.cuda.reset_peak_memory_stats(GPU)
    begun = time.monotonic()
    by_gpu = portrait(on_gpu, people)
    first = time.monotonic() - begun
    again = portrait(on_gpu, people)
    apart = np.abs(by_gpu - by_cpu)[by_gpu != by_cpu]
    mean = apart.mean() if apart.size else 0.0
    peak = torch.cuda.max_memory_allocated(GPU) / 1e9
    log.info("a portrait: %.1f s, %.2f GB, %.2f levels from the CPU's where it differs", first, peak, mean)
    assert mean <= LEVELS
    assert np.array_equal(by_gpu, again), "same seed, same bytes"


@with_gpu
def test_a_training_learns_and_leaves_the_model_as_it_was(model, engine):
    photos = {f"{n}.jpg": pictures.jpeg(one) for n, one in enumerate(pictures.variations(pictures.hopper(), 6))}
    before = {name: value.clone() for name, value in model.denoiser.state_dict().items()}
    torch.cuda.reset_peak_memory_stats(model.device)
    begun = time.monotonic()
    knobs = {"user_id": WHO, "max_train_steps": 40, "val_save_checkpointing_steps": 20}
    body = {"request_id": "r1", "images": list(photos), "configure": knobs}
    workspace = FakeWorkspace(photos)
    data = TrainFunction(Trainer(model, engine, Limits())).answer(body, workspace).data
    peak = torch.cuda.max_memory_allocated(model.device) / 1e9
    log.info("40 updates: %.1f s, %.2f GB", time.monotonic() - begun, peak)
    assert workspace.objects[data["lora"]]
    assert all(np.isfinite(one["loss"]) for one in data["checkpoints"] if one.get("loss") is not None)
    after = model.denoiser.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@with_gpu
def test_a_full_gpu_is_said_to_be_full_and_serves_the_next():
    device = torch.device(GPU)
    free, _ = torch.cuda.mem_get_info(device)

    def filled() -> torch.Tensor:
        return torch.empty(2 * free, dtype=torch.uint8, device=device)

    with pytest.raises(OutOfMemory):
        once_more_with_less(filled, filled)
    assert once_more_with_less(filled, lambda: torch.ones(2, device=device)).sum().item() == 2


BREAKS = f"""
import torch
from shared.contract.function import DeviceBroken
from shared.devices import device_errors
values, places = torch.zeros(4, device={GPU!r}), torch.tensor([99], device={GPU!r})
for _ in range(2):  # the second time nothing is wrong but the context
    try:
        with device_errors():
            values[places].sum().item()
            raise SystemExit("it did not break")
    except DeviceBroken as error:
        places = torch.tensor([0])
        print(error)
"""


@with_gpu
def test_a_broken_context_is_known_as_one_and_stays_broken():
    """In a process of its own: no other test could use the GPU afterwards."""
    command = [sys.executable, "-c", BREAKS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout.count("is broken until its process is restarted") == 2, ended.stderr


@with_gpu
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="onnxruntime for CPUs: pip uninstall onnxruntime, pip install --constraint constraints.txt onnxruntime-gpu",
)
def test_faces_are_found_on_the_gpu_where_the_cpu_finds_them(tmp_path):
    from shared.faces.insightface import InsightfaceEngine

    folder, gpu = model_folder(tmp_path / "toy"), torch.device(GPU).index
    picture = np.zeros((640, 640, 3), np.uint8)
    picture[256:288, 320:352] = 255
    found = {}
    for provider in ("cpu", "cuda"):
        settings = FaceSettings(engine="insightface", model=str(folder), provider=provider, device_id=gpu)
        engine = InsightfaceEngine(settings)
        assert engine.provider == ("CPUExecutionProvider" if provider == "cpu" else "CUDAExecutionProvider")
        (face,) = engine.detect(picture)
        found[provider] = face, engine.embed(picture, face)
    assert found["cuda"][0].landmarks == pytest.approx(found["cpu"][0].landmarks, abs=0.5)
    assert found["cuda"][1] @ found["cpu"][1] == pytest.approx(1, abs=1e-3)


@with_gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU here")
def test_a_second_gpu_is_used_where_it_is_named():
    model = diffusion.load_model(ModelSettings(device="cuda:1"))
    assert next(model.denoiser.parameters()).device == torch.device("cuda:1")
    with device_errors():
        assert torch.cuda.memory_allocated(1) > 0
