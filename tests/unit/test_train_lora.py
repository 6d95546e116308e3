"""The adapter: enabled, disabled, and saved as a file."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from functions.train.lora import add_adapter, is_finite
from functions.train.plan import TrainingPlan
from shared.models.diffusion import load_model
from shared.settings import ModelSettings
from tests.tiny_base import make_tiny_base

PLAN = TrainingPlan(rank=4, alpha=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def model(folder):
    return load_model(ModelSettings(path=str(folder), device="cpu"))


@pytest.fixture
def unet(model):
    return model.unet


def prediction(unet):
    generator = torch.Generator().manual_seed(3)
    noisy, states = torch.randn(2, 16, 8, 8, generator=generator), torch.randn(2, 5, 32, generator=generator)
    with torch.no_grad():
        return unet(noisy, 500, states).sample


def disturb(adapter):
    """Change the adapter's weights as a training would, in one go."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for parameter in adapter.parameters:
            parameter.add_(torch.randn_like(parameter) * 0.2)


def test_a_fresh_adapter_changes_nothing(model, unet):
    before = prediction(unet)
    with add_adapter(model, PLAN):
        assert torch.equal(prediction(unet), before)


def test_the_base_is_bit_identical_after_the_adapter_is_off(model, unet):
    before, answer = {name: value.clone() for name, value in unet.state_dict().items()}, prediction(unet)
    with add_adapter(model, PLAN) as adapter:
        disturb(adapter)
        assert not torch.equal(prediction(unet), answer)
    after = unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(prediction(unet), answer)
    assert not any(parameter.requires_grad for parameter in unet.parameters())


def test_an_interrupted_training_takes_its_adapter_off_too(model, unet):
    names = list(unet.state_dict())

    def interrupted():
        with add_adapter(model, PLAN):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(unet.state_dict()) == names
    with add_adapter(model, PLAN):
        pass


def test_the_adapter_is_trained_in_full_precision_on_a_half_precision_base(model, unet):
    unet.half()
    with add_adapter(model, PLAN) as adapter:
        assert {parameter.dtype for parameter in adapter.parameters} == {torch.float32}
    assert unet.dtype == torch.float16


def test_the_same_seed_makes_the_same_adapter(model, unet):
    made = []
    for seed in (1, 1, 2):
        torch.rand(1)
        with add_adapter(model, TrainingPlan(rank=4, seed=seed)) as adapter:
            made.append(adapter.weights())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert any(not torch.equal(made[0][name], made[2][name]) for name in made[0])


def test_a_stock_pipeline_reads_the_file_and_predicts_the_same(model, unet, folder, tmp_path):
    """Rank and alpha differ here, so the scale can only come from the file."""
    with add_adapter(model, PLAN) as adapter:
        disturb(adapter)
        expected = prediction(unet)
        (tmp_path / "lora.safetensors").write_bytes(adapter.serialize(adapter.weights(), {}))
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    assert torch.allclose(prediction(pipeline.unet), expected, atol=1e-4)


def test_the_files_header_tells_how_it_was_made(model, unet, tmp_path):
    facts = {"base_model": "tiny", "plan": PLAN.model_dump(mode="json")}
    with add_adapter(model, PLAN) as adapter:
        (tmp_path / "lora.safetensors").write_bytes(adapter.serialize(adapter.weights(), facts))
    with safe_open(tmp_path / "lora.safetensors", "pt") as opened:
        header = opened.metadata()
    assert json.loads(header["photog"]) == facts
    assert json.loads(header["lora_adapter_metadata"])["unet.lora_alpha"] == 8


def test_a_weight_that_is_no_number_is_noticed():
    assert is_finite({"a": torch.ones(2)})
    assert not is_finite({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])})
