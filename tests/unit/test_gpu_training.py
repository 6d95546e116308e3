"""Updates in half precision, reproducibility on a GPU, and copies between GPU and CPU."""

import os
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, TCDScheduler

from functions.train.checkpoint import computer
from functions.train.latents import LatentCache, Latents
from functions.train.lora import add_adapter
from functions.train.loss import DiffusionLoss
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.recomputing import recomputing
from functions.train.training_inputs import TrainingInputs
from shared.models import determinism
from shared.models.determinism import deterministic
from shared.models.diffusion import load_model
from shared.models.noise import add_noise
from shared.models.transfers import copy_all_to_cpu, copy_all_to_device, copy_to_device
from shared.settings import ModelSettings
from tests.pretend_gpu import pretend_gpu
from tests.tiny_base import make_tiny_base

PLAN = TrainingPlan(batch=2, rank=4, alpha=4, learning_rate=1e-3, warm_up=0)
STEPS = 4
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


def material(model):
    generator = torch.Generator().manual_seed(3)
    mean = torch.randn(8, 16, 8, 8, generator=generator)
    latents = Latents(copy_to_device(mean, model.device), None)
    cache = LatentCache([(row, 0) for row in range(8)], latents, copy_to_device(torch.ones(8, 1, 8, 8), model.device))
    loss = DiffusionLoss(model, model.objective(PLAN.gamma))
    return TrainingInputs(cache, model.condition("photo of sks person"), loss)


def updated(updates, steps):
    return [float(update.loss) for _, update in zip(range(steps), updates, strict=False)]


@pytest.fixture(scope="module")
def full(base):
    """Losses in float32."""
    model = load_model(ModelSettings(path=str(base), device="cpu"))
    with add_adapter(model, PLAN) as adapter:
        return updated(OptimizerSteps(adapter, material(model), PLAN, STEPS), STEPS)


def trained(model, gpu, resumed=None):
    """An adapter, with its losses, its state halfway and what the host had to do with the GPU."""
    made = SimpleNamespace(copies=0)
    with add_adapter(model, PLAN) as adapter:
        updates = OptimizerSteps(adapter, material(model), PLAN, STEPS)
        if resumed:
            updates.resume(*resumed)
        gpu.clear()
        made.losses = updated(updates, 1)
        made.casts = set(gpu.casts)
        gpu.clear()
        next(iter(updates))
        made.waits, made.crossed = dict(gpu.waits), dict(gpu.to_host | gpu.to_gpu)
        if resumed:
            made.weights, made.after = adapter.weights(), updates.state()
            return made
        made.halfway = updates.state()
        made.losses += updated(updates, STEPS - 2)
        gpu.clear()
        made.weights, made.after = adapter.weights(), updates.state()
        made.copies = sum(gpu.to_host.values())
    return made


@pytest.fixture(scope="module", params=["float16", "bfloat16"])
def runs(request, base):
    """In half precision: a training, the same one resumed and the same one by recomputing."""
    with pretend_gpu(bfloat16=request.param == "bfloat16") as gpu:
        model = load_model(ModelSettings(path=str(base), device="cuda"))
        made = SimpleNamespace(
            scaled=request.param == "float16",
            shapes={tuple(one.shape) for one in model.unet.parameters() if one.dim() == 4},
            plain=trained(model, gpu),
        )
        grown = {"scaler.growth": torch.tensor(5)} if made.scaled else {}
        made.resumed = trained(model, gpu, (2, made.plain.halfway | grown))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "mem_get_info", lambda device: (10**6, 10**6))
            with recomputing(model, PLAN) as made.again:
                made.recomputed = trained(model, gpu)
    return made


def test_an_update_in_half_precision_is_the_one_in_float32_but_for_rounding(full, runs):
    assert runs.plain.losses == pytest.approx([full[0], *full[2:]], rel=0.02)
    weights = runs.plain.weights
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    learned = [tensor for name, tensor in weights.items() if name.endswith(("up.weight", "lora_B.weight"))]
    assert max(tensor.abs().max() for tensor in learned) > 0


def test_a_resumed_training_is_the_same_to_the_bit_and_knows_how_much_the_loss_was_scaled(runs):
    assert all(torch.equal(runs.resumed.weights[name], tensor) for name, tensor in runs.plain.weights.items())
    assert ("scaler.scale" in runs.plain.after) == runs.scaled
    if runs.scaled:
        assert int(runs.resumed.after["scaler.growth"]) == 7


def test_layers_that_are_run_again_make_the_same_adapter_and_wait_for_nothing(runs):
    assert runs.again
    assert runs.recomputed.losses == runs.plain.losses
    assert all(torch.equal(runs.recomputed.weights[name], tensor) for name, tensor in runs.plain.weights.items())
    assert (runs.recomputed.waits, runs.recomputed.crossed) == ({}, {})


def test_frozen_weights_are_not_cast_in_every_pass(runs):
    assert not runs.shapes & runs.plain.casts


def test_updates_do_not_wait_for_the_gpu(runs):
    assert (runs.plain.waits, runs.plain.crossed) == ({}, {})


def test_the_state_comes_home_in_one_copy_and_the_weights_in_another(runs):
    assert runs.plain.copies == 2


def test_tensors_travel_together_and_arrive_as_they_were():
    tensors = [torch.arange(6.0).reshape(2, 3), torch.ones(2, 1, 1, 1, dtype=torch.float16), torch.tensor(7.0)]
    with pretend_gpu() as gpu:
        there = copy_all_to_device(tensors, CUDA)
        assert (sum(gpu.pinned.values()), gpu.to_gpu) == (1, {})
        back = copy_all_to_cpu(there)
    assert all(torch.equal(one, other.to(one.dtype)) for one, other in zip(back, tensors, strict=True))
    assert len({one.untyped_storage().data_ptr() for one in back}) == 3


@pytest.mark.parametrize("scheduler", [DDIMScheduler, LCMScheduler, TCDScheduler, EulerDiscreteScheduler])
def test_noise_is_added_as_the_scheduler_does_it_and_its_table_stays_where_it_is(scheduler):
    ours, theirs = scheduler(**BETAS), scheduler(**BETAS)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for one in (ours, theirs):
        one.set_timesteps(10)
    for time in ours.timesteps:
        assert torch.equal(add_noise(ours, latents, noise, time[None]), theirs.add_noise(latents, noise, time[None]))
    assert ours.alphas_cumprod.dtype == torch.float32


def test_the_first_time_step_has_its_noise_in_half_precision_too():
    scheduler = DDIMScheduler(**BETAS)
    latents, noise, first = torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8), torch.tensor([1])
    lost = scheduler.add_noise(latents.bfloat16(), noise.bfloat16(), first)
    assert lost.abs().max() == 0 or not torch.allclose(
        lost.float(), add_noise(DDIMScheduler(**BETAS), latents, noise, first)
    )
    assert add_noise(DDIMScheduler(**BETAS), latents, noise, first).min() > 0.03


class TestRepeating:
    def test_a_gpu_is_told_to_repeat_itself_and_left_as_it_was(self, monkeypatch):
        monkeypatch.delenv(determinism.WORKSPACE, raising=False)
        determinism.prepare(CPU)
        assert determinism.WORKSPACE not in os.environ
        determinism.prepare(CUDA)
        assert os.environ[determinism.WORKSPACE] == ":4096:8"
        before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        with deterministic(CUDA):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = before[1]
        assert torch.are_deterministic_algorithms_enabled() == before[0]

    def test_a_setting_that_repeats_itself_is_kept_and_another_is_not(self, monkeypatch):
        for given, kept in ((":16:8", ":16:8"), (":0:0", ":4096:8")):
            monkeypatch.setenv(determinism.WORKSPACE, given)
            determinism.prepare(CUDA)
            assert os.environ[determinism.WORKSPACE] == kept

    def test_a_checkpoint_knows_the_gpu_it_was_made_on(self):
        said = []
        for bfloat16 in (True, False):
            with pretend_gpu(bfloat16):
                said.append(computer(CUDA))
        assert said == [["cuda", "Pretend A10G", "8.6"], ["cuda", "Pretend T4", "7.5"]]
        assert computer(CPU) == ["cpu"]
