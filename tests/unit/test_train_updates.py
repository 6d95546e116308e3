"""The batches and time steps of the updates, and the learning rate."""

import pytest
import torch

from functions.train.latents import LatentCache, Latents
from functions.train.lora import add_adapter
from functions.train.loss import DiffusionLoss
from functions.train.optimizer_steps import OptimizerSteps, lr_factor, photo_order, stratified_shares
from functions.train.plan import TrainingPlan
from functions.train.training_inputs import TrainingInputs
from shared.models.diffusion import load_model
from shared.settings import ModelSettings, TrainSettings
from tests.tiny_base import make_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(ModelSettings(path=str(make_tiny_base(tmp_path_factory.mktemp("base"))), device="cpu"))


def updated(model, plan):
    """Return the losses and the adapter after three updates on eight synthetic crops."""
    generator = torch.Generator().manual_seed(3)
    latents = Latents(torch.randn(8, 16, 8, 8, generator=generator), torch.full((8, 16, 8, 8), 0.1))
    masks = torch.rand(8, 1, 8, 8, generator=generator)  # of different weight in sum: a mean of means would differ
    cache = LatentCache([(row, 0) for row in range(8)], latents, masks)
    words = model.condition("photo of sks person")
    learned = TrainingInputs(cache, words, DiffusionLoss(model, model.objective(plan.gamma)))
    with add_adapter(model, plan) as adapter:
        losses = [float(update.loss) for update in OptimizerSteps(adapter, learned, plan, 3)]
        return losses, adapter.weights()


@pytest.mark.parametrize("passes", [2, 4])
def test_accumulated_passes_are_one_large_batch(base, passes):
    common = {"rank": 4, "alpha": 4, "learning_rate": 1e-3, "warm_up": 0}
    losses, whole = updated(base, TrainingPlan(batch=4, **common))
    others, parts = updated(base, TrainingPlan(batch=4 // passes, accumulation=passes, **common))
    assert others == pytest.approx(losses, rel=1e-5)
    assert len(set(losses)) == 3
    for name, tensor in whole.items():
        assert torch.allclose(parts[name], tensor, atol=1e-5), name
    _, small = updated(base, TrainingPlan(batch=4 // passes, **common))
    assert any(not torch.allclose(small[name], tensor, atol=1e-4) for name, tensor in whole.items())


def test_the_settings_say_how_many_passes_an_update_has(base):
    plan = TrainingPlan.for_model(base.working, wanted=TrainSettings(batch=2, accumulation=3))
    assert (plan.batch, plan.accumulation, plan.pictures) == (2, 3, 6)


def test_every_crop_is_seen_once_before_any_comes_again():
    walk = photo_order(rows=10, batch=4, steps=5, seed=1).flatten().tolist()
    assert sorted(walk[:10]) == list(range(10))
    assert sorted(walk[10:]) == list(range(10))
    assert walk[:10] != walk[10:]


def test_the_order_follows_the_seed():
    assert torch.equal(photo_order(10, 4, 5, seed=1), photo_order(10, 4, 5, seed=1))
    assert not torch.equal(photo_order(10, 4, 5, seed=1), photo_order(10, 4, 5, seed=2))


def test_one_batch_spans_the_noise_levels():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        shares = stratified_shares(4, generator)
        assert sorted((shares // 0.25).tolist()) == [0, 1, 2, 3]


def test_every_place_of_a_batch_meets_every_noise_level():
    generator = torch.Generator().manual_seed(0)
    first = torch.stack([stratified_shares(4, generator)[0] for _ in range(400)])
    assert 0 <= first.min() < 0.02
    assert 0.98 < first.max() < 1


def test_the_rate_rises_then_falls_to_its_rest():
    plan = TrainingPlan(warm_up=10, final_rate=0.1)
    rates = [lr_factor(step, 400, plan) for step in range(400)]
    assert rates[0] < 0.1
    assert max(rates) == max(rates[10:20])
    assert 0.1 <= rates[-1] < 0.11
