"""train and generate on a GPU, which is pretended: nothing is mixed, nothing waits, and half precision is near enough.

`tests/pretend_gpu.py` says what of a real GPU can be seen so.
"""

from copy import copy
from dataclasses import replace
from functools import cache, partial
from itertools import product
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.lora_cache import LoraCache
from functions.generate.diffusion.prompt import PromptCache
from functions.train import held_out_loss, training, validation
from functions.train.handler import TrainFunction
from functions.train.plan import TrainingPlan
from functions.train.training import Trainer
from shared.contract.function import DeviceBroken
from shared.faces import Box
from shared.lifecycle.shutdown import HandedBack
from shared.models import controls, distillation_lora
from shared.models.diffusion import load_model
from shared.settings import ControlSettings, FewStepSettings, Limits, ModelSettings
from tests.fake_workspace import FakeWorkspace
from tests.pictures import astronaut, hopper, jpeg, variations
from tests.pretend_gpu import pretend_gpu
from tests.tiny_base import make_tiny_control
from tests.tiny_sdxl import make_tiny_sdxl
from tests.trained_users import lora, make_visible_base

NEAR = 8  # levels of 255 between half precision and float32
LANDMARKS = np.random.default_rng(0).uniform((190, 90), (250, 150), (68, 2))
PEOPLE = ("ann", "cleo", "bob", None)  # the last wears nothing
USERS = (("ann", 4, 1), ("bob", 4, 2), ("cleo", 8, 3))
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
        unet, folder = load_model(ModelSettings(path=str(base), device="cpu")).unet, tmp_path_factory.mktemp(name)
        net = make_tiny_control(folder / "canny", unet)
        users = {user: lora(unet, str(folder), rank, seed) for user, rank, seed in USERS}
        lora(unet, str(folder), 8, 9, scale=0.1)
        found[name] = SimpleNamespace(users=users, folder=folder, net=net)
    return found


@pytest.fixture(scope="module")
def photos():
    small = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in variations(hopper(), 7))
    return {f"{index}.jpg": jpeg(image) for index, image in enumerate(small)}


def repainted(base, beside, device, watch=None, people=PEOPLE, few=None):
    """Faces of the astronaut in a batch, guided and by a ControlNet, or in few steps."""
    model = load_model(ModelSettings(path=str(base), device=device))
    model.vae.decoder.layers[-1].weight.mul_(16)  # a difference of many levels
    asked = [ControlSettings(kind="canny", path=str(beside.net), first=1.0, end=0.8)]
    if few:
        settings = FewStepSettings(path=str(beside.folder / "8-9.safetensors"), scheduler=few)
        model, asked = distillation_lora.fuse_distillation_lora(model, settings), []
    else:
        model = replace(model, working=model.working.model_copy(update={"guidance": 3.0}))
    diffuser, adapters = Diffuser(model, controls.load_controls(asked, model)), LoraCache(model.unet)
    mask = np.zeros((512, 512), np.float32)
    mask[90:150, 190:250] = 1
    words = PromptCache(model).of("ann")
    squares = [Box(150 + 9 * index, 50, 300, 200 - 7 * index) for index in range(len(people))]
    faces = [InpaintRegion(astronaut(), square, mask, LANDMARKS, words, seed) for seed, square in enumerate(squares)]
    worn = [name and adapters.lora(name, lambda: "etag", partial(beside.users.get, name)) for name in people]
    with adapters.activate(worn):
        if watch:
            watch.clear()
        return diffuser.repaint(faces, Denoising(50 if few else 6, 0.45, "first", model.step_count))


CASES = {
    "one face": {"people": ("ann",)},
    "four people in one batch": {},
    "few steps by LCM": {"people": ("ann",), "few": "lcm"},
    "few steps by TCD": {"people": ("ann",), "few": "tcd"},
    "few steps by Euler": {"people": ("ann",), "few": "euler"},
}
QUICK = [
    *(("sd15", case, precision) for case in ("one face", "four people in one batch") for precision in PRECISIONS),
    *(("sdxl", "four people in one batch", precision) for precision in PRECISIONS),
    ("sd15", "few steps by LCM", "bfloat16"),
    ("sdxl", "few steps by Euler", "float16"),
]
ALL = product(("sd15", "sdxl"), CASES, PRECISIONS)
SLOW = [pytest.param(*one, marks=pytest.mark.slow) for one in ALL if one not in QUICK]


@pytest.fixture(scope="module")
def portraits(bases, beside):
    """Pictures by architecture, case and precision, None for float32, and what the GPU was asked; each made once."""

    @cache
    def made(kind, case, precision=None):
        if precision is None:
            return repainted(bases[kind], beside[kind], "cpu", **CASES[case]), None
        with pretend_gpu(bfloat16=PRECISIONS[precision]) as watch:
            return repainted(bases[kind], beside[kind], "cuda", watch, **CASES[case]), copy(watch)

    return made


@pytest.mark.parametrize(("kind", "case", "precision"), [*QUICK, *SLOW])
def test_a_portrait_in_half_precision_is_the_one_in_float32_but_for_a_few_levels(portraits, kind, case, precision):
    half, _ = portraits(kind, case, precision)
    full, _ = portraits(kind, case)
    for ours, theirs in zip(half, full, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= NEAR
        assert np.abs(theirs.astype(int) - astronaut()).max() > 3 * NEAR


@pytest.mark.parametrize(("kind", "case", "precision"), QUICK)
def test_no_step_of_a_diffusion_waits_for_the_gpu(portraits, kind, case, precision):
    """But for LCM, whose noise diffusers draws on the CPU at each evaluation and copies as it does."""
    _, watch = portraits(kind, case, precision)
    assert watch.waits == {}
    assert sum(watch.to_host.values()) == 1  # the pictures
    waited = {line for line in watch.to_gpu if "scheduler.step(" not in line or "LCM" not in case}
    assert not waited, "copies for which the host waits"


def body(photos, steps=STEPS, spacing=SPACING):
    knobs = {"user_id": "grace", "max_train_steps": steps, "val_save_checkpointing_steps": spacing}
    return {"request_id": 7, "images": list(photos), "configure": knobs}


def train(model, engine, photos, workspace=None):
    """The answer, the workspace and the pictures of all validations."""
    workspace, pictures, real = workspace or FakeWorkspace(photos), [], validation.Validator.__call__
    plan = TrainingPlan(batch=2, accumulation=2, rank=4, alpha=4, learning_rate=1e-3)

    def judged(validator, step):
        found = real(validator, step)
        pictures.extend(found.pictures)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "STEPS", 3)
        patch.setattr(held_out_loss, "LEVELS", 2)
        patch.setattr(validation.Validator, "__call__", judged)
        answer = TrainFunction(Trainer(model, engine, Limits(), plan)).answer(body(photos), workspace)
    return answer, workspace, np.stack(pictures)


class InterruptingWorkspace(FakeWorkspace):
    """Stops the work between the first checkpoint and the last."""

    def progress(self, stage, step, steps, eta_seconds=None, **figures):
        super().progress(stage, step, steps, eta_seconds, **figures)
        if stage == "training" and step == INTERRUPTED:
            raise HandedBack


def losses(answer):
    return [one["held_out_loss"] for one in answer.data["checkpoints"]]


@pytest.fixture(scope="module")
def full(bases, engine, photos):
    """By architecture: a training in float32, made once."""

    @cache
    def made(kind):
        return train(load_model(ModelSettings(path=str(bases[kind]), device="cpu")), engine, photos)

    return made


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_training_goes_on_where_another_stopped_to_the_same_bytes_and_is_the_one_in_float32_but_for_rounding(
    full, bases, kind, precision, engine, photos
):
    with pretend_gpu(bfloat16=PRECISIONS[precision]):
        model = load_model(ModelSettings(path=str(bases[kind]), device="cuda"))
        workspace = InterruptingWorkspace(photos)
        with pytest.raises(HandedBack):
            train(model, engine, photos, workspace)
        resumed, after, _ = train(model, engine, photos, FakeWorkspace(workspace.objects, attempt=2))
        whole, workspace, pictures = train(model, engine, photos)
    assert (resumed.data["resumed_at"], whole.data["resumed_at"]) == (SPACING, 0)
    assert after.objects[resumed.data["lora"]] == workspace.objects[whole.data["lora"]]
    exact, _, theirs = full(kind)
    assert losses(whole) == pytest.approx(losses(exact), rel=0.02)
    assert np.abs(pictures.astype(int) - theirs).max() <= NEAR


def failing_once(monkeypatch, place, error):
    """The first call of what is at a place raises."""
    owner, name = place
    real, left = getattr(owner, name), [error]

    def call(*arguments, **named):
        if left:
            raise left.pop()
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, call)


PLACES = {
    "the way back": (torch.autograd, "backward"),
    "an update": (torch.nn.utils, "clip_grad_norm_"),
    "a validation": (validation, "sample_pictures"),
    "decoding": (validation, "decode"),
    "the words": (training, "embed_prompts"),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_gpu_that_fails_anywhere_in_a_training_is_known_and_the_base_is_left_as_it_was(
    bases, engine, photos, monkeypatch, place
):
    model = load_model(ModelSettings(path=str(bases["sd15"]), device="cpu"))
    before = {name: value.clone() for name, value in model.unet.state_dict().items()}
    failing_once(monkeypatch, PLACES[place], torch.AcceleratorError("CUDA error: unspecified launch failure"))
    with pytest.raises(DeviceBroken):
        train(model, engine, photos)
    failing_once(monkeypatch, PLACES[place], torch.OutOfMemoryError("CUDA out of memory"))
    answer, *_ = train(model, engine, photos)
    assert answer.data["steps"] == STEPS, "once more, with one picture a pass"
    after = model.unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
