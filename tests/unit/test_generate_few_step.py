"""A base model of few steps: the LoRA fused in, its scheduler, and what the knobs' steps become."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.lora_cache import LoraCache
from functions.generate.diffusion.prompt import PromptCache
from shared.faces import Box
from shared.models import diffusion, distillation_lora
from shared.models.diffusion import BaseModelMissing
from shared.models.step_count import StepCount
from shared.settings import FewStepSettings, ModelSettings
from tests.pictures import astronaut
from tests.tiny_sdxl import make_tiny_sdxl
from tests.trained_users import lora, make_visible_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_visible_base(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture
def model(base):
    return diffusion.load_model(ModelSettings(path=str(base), device="cpu"))


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    """Ann's LoRA 4-1.safetensors, and one that is taken for a few-step LoRA, 8-9.safetensors."""
    unet = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
    folder = tmp_path_factory.mktemp("lora")
    lora(unet, str(folder), 4, 1)
    lora(unet, str(folder), 8, 9)
    return folder


@pytest.fixture
def settings(folder):
    return FewStepSettings(path=str(folder / "8-9.safetensors"))


def prediction(unet):
    with torch.inference_mode():
        latents = torch.linspace(-1, 1, 16 * 64).reshape(1, 16, 8, 8)
        return unet(latents, 500, encoder_hidden_states=torch.linspace(-1, 1, 77 * 32).reshape(1, 77, 32)).sample


def canvas(model, seed=1):
    mask = np.zeros((512, 512), np.float32)
    mask[90:150, 190:250] = 1
    return InpaintRegion(astronaut(), Box(150, 50, 300, 200), mask, np.zeros((68, 2)), PromptCache(model).of(""), seed)


def test_it_works_beside_a_users_as_diffusers_lets_two_adapters_work(base, model, settings, folder):
    stock = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    stock.load_lora_weights(str(folder), weight_name="8-9.safetensors", adapter_name="few")
    stock.load_lora_weights(str(folder), weight_name="4-1.safetensors", adapter_name="ann")
    stock.unet.eval()
    few = distillation_lora.fuse_distillation_lora(model, settings)
    stock.set_adapters(["few"])
    assert torch.allclose(prediction(few.unet), prediction(stock.unet), atol=1e-4)
    stock.set_adapters(["few", "ann"])
    adapters = LoraCache(few.unet)
    ann = adapters.lora("ann", lambda: "etag", (folder / "4-1.safetensors").read_bytes)
    with adapters.activate([ann]):
        assert torch.allclose(prediction(few.unet), prediction(stock.unet), atol=1e-4)


def test_users_leave_its_bits_alone_and_the_files_have_none_of_it(base, model, settings, folder):
    plain = prediction(model.unet)
    few = distillation_lora.fuse_distillation_lora(model, settings)
    fused = prediction(few.unet)
    assert not torch.allclose(fused, plain, atol=1e-3)
    adapters = LoraCache(few.unet)
    ann = adapters.lora("ann", lambda: "etag", (folder / "4-1.safetensors").read_bytes)
    for _ in range(3):
        with adapters.activate([ann]):
            assert not torch.equal(prediction(few.unet), fused)
    assert torch.equal(prediction(few.unet), fused)
    again = diffusion.load_model(ModelSettings(path=str(base), device="cpu", few_step=settings))  # as train loads it
    assert torch.equal(prediction(again.unet), plain)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_its_scale_is_the_share_of_it_that_is_fused(base, settings, folder, scale):
    model = diffusion.load_model(ModelSettings(path=str(base), device="cpu"))
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    before = model.unet.get_submodule(name).weight.clone()
    few = distillation_lora.fuse_distillation_lora(model, settings.model_copy(update={"scale": scale}))
    tensors = load_file(folder / "8-9.safetensors")
    product = tensors[f"unet.{name}.lora.up.weight"] @ tensors[f"unet.{name}.lora.down.weight"]
    assert torch.allclose(few.unet.get_submodule(name).weight - before, scale * product, atol=1e-5)


@pytest.mark.parametrize("scheduler", ["lcm", "tcd", "ddim", "euler"])
def test_each_scheduler_repaints_with_few_evaluations_and_the_same_bytes_again(model, settings, scheduler):
    few = distillation_lora.fuse_distillation_lora(model, settings.model_copy(update={"scheduler": scheduler}))
    calls = []
    few.unet.register_forward_pre_hook(lambda module, arguments: calls.append(len(arguments[0])))
    diffuser, denoising = Diffuser(few), Denoising(50, 0.45, "first", few.step_count)
    (first,) = diffuser.repaint([canvas(few)], denoising)
    assert calls == [1, 1, 1, 1]  # and no negative words
    (again,), (other,) = diffuser.repaint([canvas(few)], denoising), diffuser.repaint([canvas(few, 2)], denoising)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first[:80], astronaut()[:80])
    assert not np.array_equal(first, astronaut())


def test_more_strength_changes_more(model, settings):
    few = distillation_lora.fuse_distillation_lora(model, settings.model_copy(update={"scheduler": "ddim"}))

    def change(strength):
        (made,) = Diffuser(few).repaint([canvas(few)], Denoising(50, strength, "first", StepCount(8)))
        return np.abs(made.astype(int) - astronaut()).mean()

    assert change(0.2) < change(0.9)


@pytest.mark.parametrize(
    ("steps", "strength", "evaluations"),
    [(50, 0.45, 4), (20, 0.30, 3), (50, 1.0, 8), (4, 0.5, 2), (50, 0.0, 0), (1, 0.5, 0), (200, 0.01, 1), (20, 0.05, 1)],
)
def test_steps_above_its_own_are_its_own_and_the_strength_is_kept(steps, strength, evaluations):
    denoising = Denoising(steps, strength, "first", StepCount(8))
    assert denoising.effective == evaluations
    if evaluations and strength >= 0.1:
        assert denoising.effective / denoising.schedule == pytest.approx(strength, abs=0.03)


def test_sdxl_has_it_too(tmp_path):
    model = diffusion.load_model(ModelSettings(path=str(make_tiny_sdxl(tmp_path / "xl")), device="cpu"))
    plain = model.unet.conv_out.weight.clone()
    lora(model.unet, str(tmp_path), 4, 3)
    few = distillation_lora.fuse_distillation_lora(
        model, FewStepSettings(path=str(tmp_path / "4-3.safetensors"), scheduler="euler")
    )
    (made,) = Diffuser(few).repaint([canvas(few)], Denoising(50, 0.45, "first", few.step_count))
    assert not np.array_equal(made, astronaut())
    assert torch.equal(few.unet.conv_out.weight, plain)


class TestWhatCannotBeUsed:
    def test_no_file(self, model):
        with pytest.raises(BaseModelMissing, match="PHOTOG_MODEL__FEW_STEP__PATH"):
            distillation_lora.fuse_distillation_lora(model, FewStepSettings(path="/nowhere.safetensors"))

    @pytest.mark.parametrize("data", [b"", b"no LoRA"])
    def test_a_broken_file(self, model, tmp_path, data):
        (tmp_path / "it.safetensors").write_bytes(data)
        with pytest.raises(BaseModelMissing, match="cannot be read"):
            distillation_lora.fuse_distillation_lora(model, FewStepSettings(path=str(tmp_path / "it.safetensors")))

    def test_one_of_another_base(self, base, tmp_path, model):
        other = diffusion.load_model(ModelSettings(path=str(base), device="cpu")).unet
        other.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q = torch.nn.Linear(32, 48)
        lora(other, str(tmp_path), 4, 5)
        with pytest.raises(BaseModelMissing, match="does not fit"):
            distillation_lora.fuse_distillation_lora(model, FewStepSettings(path=str(tmp_path / "4-5.safetensors")))
