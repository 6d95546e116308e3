"""Base weights in 8 and 4 bits: what they change, what trains and swaps on them, what they take, what is refused.

Loading them needs the extra `quantized`, which `make quantized` installs apart; what is refused and planned needs none.
"""

from contextlib import contextmanager, nullcontext
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.lora_cache import LoraCache, LoraError
from functions.generate.diffusion.prompt import PromptCache
from functions.train.lora import add_adapter
from functions.train.plan import TrainingPlan
from shared.cli import doctor
from shared.faces import Box
from shared.models import quantization
from shared.models.diffusion import load_model
from shared.models.profile import ModelProfile
from shared.models.quantization import QuantizationUnavailable, require_quantization
from shared.models.shapes import FLOW_PARTS, build_flow_footprint, read_configured
from shared.settings import ModelSettings, Settings
from tests.flow_loras import disturb, flow_lora, flow_plan
from tests.pictures import astronaut
from tests.tiny_flow import MAKERS

SIDE = 64  # pixels, of the tiny models
CPU = torch.device("cpu")
WORDS = "photo of ann person"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: make(tmp_path_factory.mktemp(kind) / "base") for kind, make in MAKERS.items()}


LIBRARIES = {"int8": "torchao", "nf4": "bitsandbytes"}


@contextmanager
def on_the_cpu():
    """Inside the block models can be loaded in 4 bits without a GPU.

    bitsandbytes' kernels for CPUs stand for a GPU's, which diffusers asks for, and photog too. Their layout for AVX512
    is for wider layers than those of the tiny models.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "GPU_ONLY", frozenset())
        patch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda self, *given, **named: None)
        patch.setattr(BnB4BitDiffusersQuantizer, "update_device_map", lambda self, device_map: {"": "cpu"})
        patch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
        yield


@pytest.fixture(scope="module", params=["int8", "nf4"])
def bits(request):
    return request.param


@pytest.fixture(scope="module", params=list(MAKERS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def bare(folders, kind):
    return opened(folders[kind])


@pytest.fixture(scope="module")
def model(folders, kind, bits):
    pytest.importorskip(LIBRARIES[bits])
    with on_the_cpu() if bits == "nf4" else nullcontext():
        return opened(folders[kind], quantization=bits)


def opened(folder, **settings):
    return load_model(ModelSettings(path=str(folder), device="cpu", **settings))


@torch.no_grad()
def prediction(model, count=1):
    latents = torch.linspace(-1, 1, count * model.latent_shape[0] * 64).reshape(count, model.latent_shape[0], 8, 8)
    return model.predict(latents, torch.tensor(300.0), model.condition(WORDS).expand(count))


def test_the_prediction_is_near_that_of_the_whole_weights(bare, model, bits):
    """NF4 of random weights of small layers is off by a tenth; of 8 bits by a hundredth."""
    expected, found = prediction(bare), prediction(model)
    error = float((found - expected).norm() / expected.norm())
    assert {"int8": 0.001, "nf4": 0.03}[bits] < error < {"int8": 0.03, "nf4": 0.3}[bits]


def test_an_adapter_learns_on_them_and_leaves_them_as_they_are(model):
    before = prediction(model)
    with add_adapter(model, flow_plan(model)) as adapter:
        assert torch.equal(prediction(model), before)
        latents = torch.linspace(-1, 1, model.latent_shape[0] * 64).reshape(1, model.latent_shape[0], 8, 8)
        model.predict(latents, torch.tensor(300.0), model.condition(WORDS)).square().mean().backward()
        learned = [one for one in adapter.parameters if one.grad is not None and one.grad.abs().max() > 0]
        disturb(adapter.parameters, 1)
        assert not torch.equal(prediction(model), before)
        assert {one.dtype for one in adapter.weights().values()} == {torch.float32}
    assert learned
    assert torch.equal(prediction(model), before)


@pytest.fixture
def adapters(model):
    yield LoraCache(model.denoiser, prefix=model.lora_prefix, unadaptable=model.unadaptable)
    model.denoiser.unload_lora()


def test_people_swap_on_them_one_by_one_and_in_a_batch(bare, model, adapters):
    files = {name: flow_lora(bare, 4, seed) for seed, name in enumerate(("ann", "bob"))}
    plain = prediction(model)

    def active(*names):
        return adapters.activate(
            [name and adapters.lora(name, lambda: "v", partial(files.get, name)) for name in names]
        )

    alone = {}
    for name in (*files, *files):
        with active(name):
            alone[name] = prediction(model)
    both = prediction(model, 3)
    with active("ann", None, "bob"):
        mixed = prediction(model, 3)
    assert torch.equal(mixed[1], both[1])
    assert not torch.allclose(mixed[0], both[0])
    assert not torch.allclose(alone["ann"], alone["bob"])
    assert torch.equal(prediction(model), plain)


def test_a_picture_is_repainted_by_them_and_the_same_each_time(model):
    words = PromptCache(model).of("ann")
    everywhere = np.ones((SIDE, SIDE), np.float32)
    picture = cv2.resize(astronaut()[:320, 60:380], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    canvas = InpaintRegion(picture, Box(0, 0, SIDE, SIDE), everywhere, np.zeros((68, 2)), words, 1)
    denoising = Denoising(4, 0.6, count=model.step_count)
    one, other = (Diffuser(model).repaint([canvas], denoising)[0] for _ in range(2))
    assert np.array_equal(one, other)
    assert np.abs(one.astype(int) - picture).mean() > 1


def test_a_lora_of_another_architecture_is_refused(folders, kind, adapters):
    file = flow_lora(opened(folders[next(one for one in MAKERS if one != kind)]), 4, 1)
    with pytest.raises(LoraError, match="does not fit the base model"):
        adapters.lora("ann", lambda: "v", lambda: file)


class TestPlannedMemory:
    def test_what_is_planned_is_what_a_pass_on_them_keeps(self, model):
        """torchao keeps a copy of each weight, bitsandbytes none."""
        plan = TrainingPlan.for_model(model.working, model.architecture)
        planned = model.footprint().training(2, 4, plan.targets, recomputing=False).saved
        model.denoiser.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=list(plan.targets)))
        stored = [part for one in model.denoiser.parameters() for part in parts_of(one)]
        own, found = {one.untyped_storage().data_ptr() for one in stored}, {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model._pass(model.denoiser, 2)
        model.denoiser.unload_lora()
        assert planned == pytest.approx(sum(one.nbytes() for one in found.values()), rel=0.02)

    def test_the_weights_are_planned_as_they_are_stored(self, bare, model):
        linear = quantization.linear_layers(model.denoiser)
        others = sum(one.numel() * 4 for one in bare.denoiser.parameters()) - sum(
            4 * layer.out_features * layer.in_features for layer in linear
        )
        stored = sum(part.nbytes for layer in linear for part in parts_of(layer.weight))
        assert model.footprint().encoding().weights == pytest.approx(others + stored, rel=0.02)

    @pytest.mark.parametrize(("kind", "gigabytes"), [("flux2-klein", (7.8, 3.9, 2.0)), ("z-image", (12.3, 6.2, 3.2))])
    def test_the_published_models_take_a_half_and_a_quarter(self, kind, gigabytes):
        profile = ModelProfile(size=1024)
        shapes = [
            build_flow_footprint(kind, FLOW_PARTS[kind], profile, torch.bfloat16, bits)
            for bits in (None, "int8", "nf4")
        ]
        assert tuple(round(shape.encoding().weights / 1e9, 1) for shape in shapes) == gigabytes


def parts_of(weight):
    """The tensors that a quantized weight is stored in."""
    if hasattr(weight, "qdata"):
        return weight.qdata, weight.scale
    state = getattr(weight, "quant_state", None)
    return (weight,) if state is None else (weight, state.absmax, state.state2.absmax)


class TestRefusals:
    @pytest.mark.parametrize("kind", ["sd15", "sdxl"])
    def test_architectures_that_fit_as_they_are(self, kind):
        with pytest.raises(QuantizationUnavailable, match=r"is for Z-Image and FLUX\.2 klein; .* Stable Diffusion"):
            require_quantization("int8", kind, CPU)

    def test_four_bits_without_a_gpu(self, folders):
        with pytest.raises(QuantizationUnavailable, match="nf4 needs a GPU, and the model is on cpu: unset it, or set"):
            opened(folders["z-image"], quantization="nf4")

    def test_a_single_file(self, folders, tmp_path):
        """diffusers does not quantize its weights, and does not say so."""
        tensors = load_file(folders["z-image"] / "transformer" / "diffusion_pytorch_model.safetensors")
        save_file(tensors, tmp_path / "it.safetensors")
        with pytest.raises(QuantizationUnavailable, match="needs a diffusers folder or a hub id"):
            opened(tmp_path / "it.safetensors", config=folders["z-image"], quantization="int8")

    @pytest.mark.parametrize(("bits", "library"), [("int8", "torchao"), ("nf4", "bitsandbytes")])
    def test_a_library_that_is_not_installed(self, monkeypatch, bits, library):
        monkeypatch.setattr(quantization, "find_spec", lambda name: None)
        with pytest.raises(QuantizationUnavailable, match=rf"needs {library}, .*pip install '\.\[quantized\]'"):
            require_quantization(bits, "z-image", torch.device("cuda"))

    def test_doctor_says_so_and_plans_nothing(self, folders):
        refused = ModelSettings(path=str(folders["z-image"]), device="cpu", quantization="nf4")
        assert "nf4 needs a GPU" in doctor._diffusion(Settings(model=refused))["missing"]
        with pytest.raises(QuantizationUnavailable):
            read_configured(refused)
