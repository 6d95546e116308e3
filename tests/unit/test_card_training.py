"""Updates in half precision, reproducibility on a card, and copies between card and CPU."""

import os

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, TCDScheduler

from functions.train.checkpoint import computer
from functions.train.latents import LatentCache, Latents
from functions.train.lora import add_adapter
from functions.train.loss import DiffusionLoss
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.training_inputs import TrainingInputs
from shared.models import determinism
from shared.models.conditioning import encode_prompt
from shared.models.determinism import deterministic
from shared.models.diffusion import load_model
from shared.models.noise import noised
from shared.models.transfers import fetched, sent, sent_together
from shared.settings import ModelSettings
from tests.pretend_card import pretend_card
from tests.tiny_base import make_tiny_base

PLAN = TrainingPlan(batch=2, rank=4, alpha=4, learning_rate=1e-3, warm_up=0)
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(params=["float16", "bfloat16"])
def card(request):
    with pretend_card(bfloat16=request.param == "bfloat16") as watch:
        yield watch


def material(model):
    generator = torch.Generator().manual_seed(3)
    mean = torch.randn(8, 16, 8, 8, generator=generator)
    latents = Latents(sent(mean, model.device), None)
    cache = LatentCache([(row, 0) for row in range(8)], latents, sent(torch.ones(8, 1, 8, 8), model.device))
    loss = DiffusionLoss(model.scheduler, PLAN.gamma, model.device, model.dtype)
    return TrainingInputs(cache, encode_prompt(model, "photo of sks person"), loss)


def updated(model, steps=3, resumed=None):
    """Return losses, weights and state after some updates, after resuming from `resumed` if it is given."""
    with add_adapter(model.unet, PLAN) as adapter:
        updates = OptimizerSteps(model.unet, adapter, material(model), PLAN, 4)
        if resumed:
            updates.resume(*resumed)
        losses = [float(update.loss) for _, update in zip(range(steps), updates, strict=False)]
        return losses, adapter.weights(), updates.state()


@pytest.fixture(scope="module")
def full(base):
    """Return the losses of the same updates in float32."""
    return updated(load_model(ModelSettings(path=str(base), device="cpu")))[0]


def test_an_update_in_half_precision_is_the_one_in_float32_but_for_rounding(full, card, base):
    half, weights, state = updated(load_model(ModelSettings(path=str(base), device="cuda")))
    assert half == pytest.approx(full, rel=0.02)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert any(
        tensor.abs().max() > 0 for name, tensor in weights.items() if name.endswith(("up.weight", "lora_B.weight"))
    )
    assert ("scaler.scale" in state) == (torch.cuda.get_device_capability() < (8, 0))


def test_a_resumed_training_knows_how_much_the_loss_was_scaled(base):
    with pretend_card(bfloat16=False):
        model = load_model(ModelSettings(path=str(base), device="cuda"))
        _, whole, _ = updated(model, 4)
        _, _, state = updated(model, 2)
        state |= {"scaler.growth": torch.tensor(5)}
        _, resumed, after = updated(model, 2, (2, state))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    assert int(after["scaler.growth"]) == 7


def test_frozen_weights_are_not_cast_in_every_pass(card, base):
    model = load_model(ModelSettings(path=str(base), device="cuda"))
    shapes = {tuple(one.shape) for name, one in model.unet.named_parameters() if one.dim() == 4}
    card.clear()
    updated(model, 2)
    assert not shapes & card.casts.keys()


def test_updates_do_not_wait_for_the_card(card, base):
    model = load_model(ModelSettings(path=str(base), device="cuda"))
    with add_adapter(model.unet, PLAN) as adapter:
        updates = iter(OptimizerSteps(model.unet, adapter, material(model), PLAN, 4))
        next(updates)
        card.clear()
        next(updates)
        assert (card.waits, card.to_host, card.to_card) == ({}, {}, {})


def test_the_state_comes_home_in_one_copy(card, base):
    model = load_model(ModelSettings(path=str(base), device="cuda"))
    with add_adapter(model.unet, PLAN) as adapter:
        updates = OptimizerSteps(model.unet, adapter, material(model), PLAN, 4)
        next(iter(updates))
        card.clear()
        adapter.weights()
        updates.state()
        assert sum(card.to_host.values()) == 2


def test_tensors_travel_together_and_arrive_as_they_were(card):
    tensors = [torch.arange(6.0).reshape(2, 3), torch.ones(2, 1, 1, 1, dtype=torch.float16), torch.tensor(7.0)]
    there = sent_together(tensors, CUDA)
    assert (sum(card.pinned.values()), card.to_card) == (1, {})
    back = fetched(there)
    assert all(torch.equal(one, other.to(one.dtype)) for one, other in zip(back, tensors, strict=True))
    assert len({one.untyped_storage().data_ptr() for one in back}) == 3


@pytest.mark.parametrize("scheduler", [DDIMScheduler, LCMScheduler, TCDScheduler, EulerDiscreteScheduler])
def test_noise_is_added_as_the_scheduler_does_it_and_its_table_stays_where_it_is(scheduler):
    ours, theirs = scheduler(**BETAS), scheduler(**BETAS)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for one in (ours, theirs):
        one.set_timesteps(10)
    for time in ours.timesteps:
        assert torch.equal(noised(ours, latents, noise, time[None]), theirs.add_noise(latents, noise, time[None]))
    assert ours.alphas_cumprod.dtype == torch.float32


def test_the_first_time_step_has_its_noise_in_half_precision_too():
    scheduler = DDIMScheduler(**BETAS)
    latents, noise, first = torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8), torch.tensor([1])
    lost = scheduler.add_noise(latents.bfloat16(), noise.bfloat16(), first)
    assert lost.abs().max() == 0 or not torch.allclose(
        lost.float(), noised(DDIMScheduler(**BETAS), latents, noise, first)
    )
    assert noised(DDIMScheduler(**BETAS), latents, noise, first).min() > 0.03


class TestRepeating:
    def test_a_card_is_told_to_repeat_itself_and_left_as_it_was(self, monkeypatch):
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

    def test_a_checkpoint_knows_the_card_it_was_made_on(self):
        said = []
        for bfloat16 in (True, False):
            with pretend_card(bfloat16):
                said.append(computer(CUDA))
        assert said == [["cuda", "Pretend A10G", "8.6"], ["cuda", "Pretend T4", "7.5"]]
        assert computer(CPU) == ["cpu"]
