"""The adapter in kohya's format, loaded by a stock pipeline."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from functions.generate.diffusion.lora_cache import LoraCache
from functions.train import kohya
from functions.train.lora import add_adapter
from functions.train.plan import TrainingPlan
from shared.models.diffusion import ModelProfile, load_model
from shared.settings import ModelSettings
from tests.tiny_base import make_tiny_base
from tests.unit.test_train_lora import disturb, prediction

PLAN = TrainingPlan.for_model(ModelProfile(size=64)).model_copy(
    update={"rank": 4, "alpha": 2.0}
)  # a wrong scale would show
FACTS = {"base_model": "tiny", "architecture": "sd15", "step": 40, "plan": PLAN.model_dump(mode="json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(folder):
    """Return the adapter's file, and the UNet's prediction with the adapter."""
    model = load_model(ModelSettings(path=str(folder), device="cpu"))
    with add_adapter(model, PLAN) as adapter:
        disturb(adapter)
        return kohya.serialize_kohya(model, adapter.weights(), PLAN, FACTS), prediction(model.unet)


def test_diffusers_own_converter_reads_the_file_and_predicts_the_same(folder, trained, tmp_path):
    data, expected = trained
    (tmp_path / "lora.safetensors").write_bytes(data)
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    assert torch.allclose(prediction(pipeline.unet), expected, atol=1e-6)


def test_generate_wears_it_too(folder, trained):
    data, expected = trained
    unet = load_model(ModelSettings(path=str(folder), device="cpu")).unet
    adapters = LoraCache(unet)
    with adapters.activate([adapters.lora("key", lambda: "etag", lambda: data)]):
        assert torch.allclose(prediction(unet), expected, atol=1e-5)  # merged, and by other kernels


def test_the_names_and_the_header_are_those_that_its_readers_look_for(trained, tmp_path):
    (tmp_path / "lora.safetensors").write_bytes(trained[0])
    with safe_open(tmp_path / "lora.safetensors", "pt") as opened:
        names, header = set(opened.keys()), opened.metadata()
    modules = {name.split(".")[0] for name in names}
    assert names == {f"{module}.{end}" for module in modules for end in ("lora_down.weight", "lora_up.weight", "alpha")}
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_0_proj" in modules
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0" in modules
    assert (header["ss_network_dim"], header["ss_network_alpha"], header["ss_base_model_version"]) == (
        "4",
        "2.0",
        "sd_v1",
    )
    assert json.loads(header["photog"]) == FACTS
