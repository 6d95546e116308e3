"""train and generate on a card, which is pretended: nothing is mixed, nothing waits, and half precision is near enough.

`tests/pretend_card.py` says what of a real card can be seen so.
"""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import Canvas
from functions.generate.diffusion.lora_cache import Adapters
from functions.generate.diffusion.prompt import Prompts
from functions.train import checkpoint, validation
from functions.train.handler import TrainFunction
from functions.train.plan import TrainingPlan
from functions.train.training import Trainer
from shared.faces import Box
from shared.lifecycle.shutdown import HandedBack
from shared.models import controls, distillation_lora
from shared.models.diffusion import load
from shared.settings import ControlSettings, FewStepSettings, Limits, ModelSettings
from tests.fake_workspace import Desk
from tests.pictures import astronaut, hopper, jpeg, variations
from tests.pretend_card import pretend_card
from tests.tiny_base import make_tiny_control
from tests.tiny_sdxl import make_tiny_sdxl
from tests.trained_users import lora, make_visible_base

NEAR = 8  # levels of 255 between half precision and float32
LANDMARKS = np.random.default_rng(0).uniform((190, 90), (250, 150), (68, 2))
PEOPLE = ("ann", "cleo", "bob", None)  # the last wears nothing
PRECISIONS = {"bfloat16": True, "float16": False}
STEPS, SPACING, INTERRUPTED = 4, 2, 3


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders by architecture."""
    folder = tmp_path_factory.mktemp("bases")
    return {"sd15": make_visible_base(folder / "sd"), "sdxl": make_tiny_sdxl(folder / "xl")}


@pytest.fixture(scope="module")
def beside(bases, tmp_path_factory):
    """By architecture: LoRAs of three people, and the folder of a ControlNet and of a few-step LoRA, 8-9."""
    found = {}
    for name, base in bases.items():
        unet, folder = load(ModelSettings(path=str(base), device="cpu")).unet, tmp_path_factory.mktemp(name)
        users = {user: lora(unet, str(folder), rank, seed) for user, rank, seed in _users()}
        lora(unet, str(folder), 8, 9, scale=0.1)
        found[name] = SimpleNamespace(users=users, folder=folder, net=make_tiny_control(folder / "canny", unet))
    return found


def _users():
    return (("ann", 4, 1), ("bob", 4, 2), ("cleo", 8, 3))


@pytest.fixture(params=PRECISIONS)
def card(request):
    with pretend_card(bfloat16=PRECISIONS[request.param]) as watch:
        yield watch


@pytest.fixture(scope="module")
def photos():
    small = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in variations(hopper(), 7))
    return {f"{index}.jpg": jpeg(image) for index, image in enumerate(small)}


@pytest.fixture(autouse=True)
def rough_validation(monkeypatch):
    monkeypatch.setattr(validation, "STEPS", 3)


def repainted(base, beside, device, people=("ann",), guidance=3.0, control=False, few=None, watch=None):
    """Faces of the astronaut, a batch."""
    model = load(ModelSettings(path=str(base), device=device))
    if few:
        path = str(beside.folder / "8-9.safetensors")
        model = distillation_lora.fused(model, FewStepSettings(path=path, scheduler=few))
    else:
        model = type(model)(**vars(model) | {"working": model.working.model_copy(update={"guidance": guidance})})
    asked = [ControlSettings(kind="canny", path=str(beside.net), first=1.0, end=0.8)] if control else []
    diffuser, adapters = Diffuser(model, controls.load(asked, model)), Adapters(model.unet)
    mask = np.zeros((512, 512), np.float32)
    mask[90:150, 190:250] = 1
    faces = [
        Canvas(astronaut(), Box(150 + 9 * i, 50, 300, 200 - 7 * i), mask, LANDMARKS, Prompts(model).of("ann"), i)
        for i in range(len(people))
    ]
    worn = [name and adapters.lora(name, lambda: "etag", lambda name=name: beside.users[name]) for name in people]
    with adapters.worn(worn):
        if watch:
            watch.clear()
        return diffuser.repaint(faces, Denoising(50 if few else 10, 0.45, "first", model.working.most_steps))


CASES = {
    "one face": {},
    "without guidance": {"guidance": 1.0},
    "four people in one batch": {"people": PEOPLE},
    "a ControlNet": {"control": True},
    "few steps by LCM": {"few": "lcm"},
    "few steps by TCD": {"few": "tcd"},
    "few steps by Euler": {"few": "euler"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_portrait_in_half_precision_is_the_one_in_float32_but_for_a_few_levels(card, bases, beside, kind, case):
    half = repainted(bases[kind], beside[kind], "cuda", **CASES[case])
    full = repainted(bases[kind], beside[kind], "cpu", **CASES[case])
    for ours, theirs in zip(half, full, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= NEAR
        assert np.abs(ours.astype(int) - astronaut()).max() > NEAR


@pytest.mark.parametrize("case", ["four people in one batch", "a ControlNet"])
def test_no_step_of_a_diffusion_waits_for_the_card(card, bases, beside, case):
    repainted(bases["sd15"], beside["sd15"], "cuda", watch=card, **CASES[case])
    assert card.waits == {}
    assert sum(card.to_host.values()) == 1  # the picture
    assert card.to_card == {}, "a copy for which the host waits"


def body(photos, steps=STEPS, spacing=SPACING):
    knobs = {"user_id": "grace", "max_train_steps": steps, "val_save_checkpointing_steps": spacing}
    return {"request_id": 7, "images": list(photos), "configure": knobs}


def trained(model, engine, photos, desk=None):
    desk = desk or Desk(photos)
    plan = TrainingPlan(batch=2, accumulation=2, rank=4, alpha=4, learning_rate=1e-3)
    return TrainFunction(Trainer(model, engine, Limits(), plan)).answer(body(photos), desk), desk


class InterruptingDesk(Desk):
    """Stops the work between the first checkpoint and the last."""

    def progress(self, stage, step, steps, eta_seconds=None, **figures):
        super().progress(stage, step, steps, eta_seconds, **figures)
        if stage == "training" and step == INTERRUPTED:
            raise HandedBack


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_training_goes_on_where_another_stopped_to_the_same_bytes(card, bases, kind, engine, photos):
    model = load(ModelSettings(path=str(bases[kind]), device="cuda"))
    desk = InterruptingDesk(photos)
    with pytest.raises(HandedBack):
        trained(model, engine, photos, desk)
    resumed, after = trained(model, engine, photos, Desk(desk.objects, attempt=2))
    whole, desk = trained(model, engine, photos)
    assert (resumed.data["resumed_at"], whole.data["resumed_at"]) == (SPACING, 0)
    assert after.objects[resumed.data["lora"]] == desk.objects[whole.data["lora"]]
    assert all(part.weight.dtype == model.dtype for part in (model.unet.conv_in, model.unet.conv_out))


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_what_half_precision_learns_is_what_float32_learns(card, bases, kind, engine, photos):
    files = []
    for device in ("cuda", "cpu"):
        answer, desk = trained(load(ModelSettings(path=str(bases[kind]), device=device)), engine, photos)
        files.append(desk.objects[answer.data["lora"]])
        losses = [one["held_out_loss"] for one in answer.data["checkpoints"]]
        files.append(losses)
    assert files[1] == pytest.approx(files[3], rel=0.02)
