"""A real NVIDIA card, the first thing to run where there is one: `make test-gpu`; docs/gpu.md says what it shows.

Everything is on the embedded base model, so nothing is downloaded. Without a card all of it is skipped, but where a
driver sees a card that torch cannot use the first test fails and says why. PHOTOG_TEST_CARD=cuda:1 takes another card.
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
from shared.devices.card import computes_in_bfloat16, describe, require_card
from shared.errors import OutOfMemory
from shared.models import diffusion
from shared.photos import decode_photo
from shared.settings import FaceSettings, Limits, ModelSettings, Settings
from tests import pictures
from tests.fake_workspace import Desk
from tests.toy_onnx import model_folder
from tests.trained_users import lora, trained

log = logging.getLogger(__name__)

CARD = os.environ.get("PHOTOG_TEST_CARD", "cuda")
SEEN_BY_THE_DRIVER = Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()
LEVELS = 8.0  # of 255, mean over the face: what reduced precision may change of a portrait
WHO = "ann"
KNOBS = {"user_id": WHO, "seed": 1, "image_format": "png", "photo_enhancement_bool": False}

with_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no card here")


@pytest.fixture(scope="module")
def model() -> diffusion.DiffusionModel:
    return diffusion.load_model(ModelSettings(device=CARD))


@pytest.fixture(scope="module")
def people(engine, tmp_path_factory) -> dict[str, bytes]:
    base = diffusion.load_model(ModelSettings(device="cpu"))
    made = lora(base.denoiser, str(tmp_path_factory.mktemp("loras")), scale=0.05)
    return trained(WHO, [pictures.astronaut()[:320, 60:380]], engine, made, base.name)


def worker(device: str, engine) -> GenerateFunction:
    """generate with a model of its own, as each process has it: its adapters stay in the UNet."""
    return GenerateFunction(GenerateModels(Settings(), engine, diffusion.load_model(ModelSettings(device=device))))


def portrait(function: GenerateFunction, people: dict[str, bytes]) -> np.ndarray:
    """Of the small template, RGB."""
    desk = Desk(people | {"template.png": pictures.png(pictures.hopper()[::2, ::2])})
    body = {"request_id": "r1", "template_image": "template.png", "configure": KNOBS}
    data = function.answer(body, desk).data
    return decode_photo(desk.objects[data["image_key"]], Limits()).image.astype(float)


@pytest.mark.skipif(not SEEN_BY_THE_DRIVER and not torch.cuda.is_available(), reason="there is no card here")
def test_torch_can_use_the_card_that_the_driver_sees():
    require_card(torch.device(CARD))
    seen = describe(torch.device(CARD))
    log.info("%s, torch %s, onnxruntime %s", seen, torch.__version__, onnxruntime.__version__)


@with_card
def test_the_model_lies_on_the_card_in_the_precision_that_it_computes_in(model):
    assert model.device == torch.device(CARD)
    assert next(model.denoiser.parameters()).device.type == "cuda"
    expected = torch.bfloat16 if computes_in_bfloat16(model.device) else torch.float16
    assert model.dtype == expected


@with_card
def test_a_portrait_is_that_of_the_cpu_within_some_levels_and_comes_again_the_same(engine, people):
    by_cpu, on_card = portrait(worker("cpu", engine), people), worker(CARD, engine)
    torch.cuda.reset_peak_memory_stats(CARD)
    begun = time.monotonic()
    by_card = portrait(on_card, people)
    first = time.monotonic() - begun
    again = portrait(on_card, people)
    apart = np.abs(by_card - by_cpu)[by_card != by_cpu]
    mean = apart.mean() if apart.size else 0.0
    peak = torch.cuda.max_memory_allocated(CARD) / 1e9
    log.info("a portrait: %.1f s, %.2f GB, %.2f levels from the CPU's where it differs", first, peak, mean)
    assert mean <= LEVELS
    assert np.array_equal(by_card, again), "same seed, same bytes"


@with_card
def test_a_training_learns_and_leaves_the_model_as_it_was(model, engine):
    photos = {f"{n}.jpg": pictures.jpeg(one) for n, one in enumerate(pictures.variations(pictures.hopper(), 6))}
    before = {name: value.clone() for name, value in model.denoiser.state_dict().items()}
    torch.cuda.reset_peak_memory_stats(model.device)
    begun = time.monotonic()
    knobs = {"user_id": WHO, "max_train_steps": 40, "val_save_checkpointing_steps": 20}
    body = {"request_id": "r1", "images": list(photos), "configure": knobs}
    desk = Desk(photos)
    data = TrainFunction(Trainer(model, engine, Limits())).answer(body, desk).data
    peak = torch.cuda.max_memory_allocated(model.device) / 1e9
    log.info("40 updates: %.1f s, %.2f GB", time.monotonic() - begun, peak)
    assert desk.objects[data["lora"]]
    assert all(np.isfinite(one["loss"]) for one in data["checkpoints"] if one.get("loss") is not None)
    after = model.denoiser.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@with_card
def test_a_full_card_is_said_to_be_full_and_serves_the_next():
    device = torch.device(CARD)
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
values, places = torch.zeros(4, device={CARD!r}), torch.tensor([99], device={CARD!r})
for _ in range(2):  # the second time nothing is wrong but the context
    try:
        with device_errors():
            values[places].sum().item()
            raise SystemExit("it did not break")
    except DeviceBroken as error:
        places = torch.tensor([0])
        print(error)
"""


@with_card
def test_a_broken_context_is_known_as_one_and_stays_broken():
    """In a process of its own: no other test could use the card afterwards."""
    command = [sys.executable, "-c", BREAKS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout.count("is broken until its process is restarted") == 2, ended.stderr


@with_card
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="onnxruntime for CPUs: pip uninstall onnxruntime, pip install --constraint constraints.txt onnxruntime-gpu",
)
def test_faces_are_found_on_the_card_where_the_cpu_finds_them(tmp_path):
    from shared.faces.insightface import InsightfaceEngine

    folder, card = model_folder(tmp_path / "toy"), torch.device(CARD).index
    picture = np.zeros((640, 640, 3), np.uint8)
    picture[256:288, 320:352] = 255
    found = {}
    for provider in ("cpu", "cuda"):
        settings = FaceSettings(engine="insightface", model=str(folder), provider=provider, device_id=card)
        engine = InsightfaceEngine(settings)
        assert engine.provider == ("CPUExecutionProvider" if provider == "cpu" else "CUDAExecutionProvider")
        (face,) = engine.detect(picture)
        found[provider] = face, engine.embed(picture, face)
    assert found["cuda"][0].landmarks == pytest.approx(found["cpu"][0].landmarks, abs=0.5)
    assert found["cuda"][1] @ found["cpu"][1] == pytest.approx(1, abs=1e-3)


@with_card
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one card here")
def test_a_second_card_is_used_where_it_is_named():
    model = diffusion.load_model(ModelSettings(device="cuda:1"))
    assert next(model.denoiser.parameters()).device == torch.device("cuda:1")
    with device_errors():
        assert torch.cuda.memory_allocated(1) > 0
