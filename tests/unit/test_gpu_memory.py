"""What a GPU's memory is planned to hold, and what is taken off it: by shapes alone, and on a pretended GPU."""

from dataclasses import replace
from functools import cache, lru_cache

import pytest
import safetensors.torch
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch._subclasses.fake_tensor import FakeTensorMode

from functions.generate.diffusion.img2img import DECODED_AT_ONCE, Diffuser
from functions.generate.handler import planned_peak as portraits_planned
from functions.train import recomputing as memory
from functions.train.handler import planned_peak as training_planned
from functions.train.plan import TrainingPlan
from functions.train.recomputing import is_short, recomputing
from functions.train.training_inputs import embed_prompts
from shared.cli import doctor
from shared.errors import OutOfMemory
from shared.models import distillation_lora, planned_peak
from shared.models.architectures import ATTENTION
from shared.models.controls import open_control
from shared.models.diffusion import load_model
from shared.models.shapes import PARTS, build_footprint
from shared.settings import FewStepSettings, ModelSettings, Settings
from tests.pretend_gpu import in_float32, pretend_gpu
from tests.tiny_base import make_tiny_base, make_tiny_control
from tests.tiny_sdxl import make_tiny_sdxl
from tests.trained_users import lora

SMALL = {
    "sd15": {"block_out_channels": (32, 64, 128, 128), "norm_num_groups": 16, "layers_per_block": 1},
    "sdxl": {
        "block_out_channels": (32, 64, 128),
        "transformer_layers_per_block": (1, 2, 3),
        "norm_num_groups": 16,
        "layers_per_block": 1,
    },
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@cache
def footprint(kind, size, dtype):
    return build_footprint(PARTS[kind], size, dtype)


@lru_cache(maxsize=1)  # asked for twice, one after the other
def adapted(kind, small, dtype):
    """A UNet with a LoRA on it as autocast has it on a GPU, of tensors without memory, and the mode that it runs in."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(unet_parts(kind, small))
    unet = unet.to(dtype).requires_grad_(False)
    unet.add_adapter(LoraConfig(r=8, lora_alpha=8, target_modules=list(ATTENTION)))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        unet.to_empty(device="cpu")
        for parameter in unet.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return unet, mode


def unet_parts(kind, small):
    return PARTS[kind]["unet"] | (SMALL[kind] if small else {})


def kept(kind, small, size, batch, dtype, recomputing):
    """Bytes that a pass of tensors without memory keeps for the way back."""
    unet, mode = adapted(kind, small, dtype)
    found, half, parts = {}, dtype != torch.float32, unet_parts(kind, small)
    (unet.enable_gradient_checkpointing if recomputing else unet.disable_gradient_checkpointing)()
    own = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage
        return tensor

    with mode:
        added = {"text_embeds": torch.empty(batch, 1280, dtype=dtype), "time_ids": torch.empty(batch, 6, dtype=dtype)}
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=half),
        ):
            unet(
                torch.empty(batch, 4, size // 8, size // 8),
                torch.zeros(batch, dtype=torch.long),
                torch.empty(batch, 77, parts["cross_attention_dim"], dtype=dtype),
                added_cond_kwargs=added if "addition_embed_type" in parts else None,
            )
        return sum(storage.nbytes() for storage in found.values())


@pytest.fixture
def norms_of_a_gpu(monkeypatch):
    for norm in ("group_norm", "layer_norm"):
        monkeypatch.setattr(torch.nn.functional, norm, in_float32(getattr(torch.nn.functional, norm)))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("kind", "small", "size", "batch"),
    [
        pytest.param("sd15", False, 512, 4, marks=pytest.mark.slow),
        pytest.param("sdxl", False, 1024, 1, marks=pytest.mark.slow),
        ("sd15", True, 512, 3),
        ("sdxl", True, 768, 2),
    ],
)
def test_what_is_planned_to_be_kept_is_what_a_pass_keeps(norms_of_a_gpu, kind, small, size, batch, dtype, again):
    parts = PARTS[kind] | {"unet": unet_parts(kind, small)}
    plan = build_footprint(parts, size, dtype).training(batch, 8, ATTENTION, again)
    assert plan.saved == pytest.approx(kept(kind, small, size, batch, dtype, again), rel=0.1)


def test_the_weights_are_those_of_the_published_models():
    """By their model GPUs and files: parameters of UNet, autoencoder and encoders, in millions."""
    counts = {}
    for kind in PARTS:
        shape = build_footprint(PARTS[kind], 512, torch.float32)
        parts = (shape.unet, shape.vae, *shape.encoders)
        counts[kind] = [round(planned_peak.weights(part, torch.float32) / 4e6, 1) for part in parts]
    assert counts == {"sd15": [859.5, 83.7, 123.1], "sdxl": [2567.5, 83.7, 123.1, 694.7]}


def test_sdxl_trains_on_16_gb_by_recomputing_and_so_do_its_portraits():
    shape = footprint("sdxl", 1024, torch.bfloat16)
    plain, again = (shape.training(1, 8, ATTENTION, recomputing) for recomputing in (False, True))
    assert (round(plain.weights / 1e9, 1), round(plain.adapter / 1e9, 1)) == (5.1, 0.2)
    assert (round(plain.saved / 1e9, 1), round(again.saved / 1e9, 1)) == (7.7, 0.5)
    assert again.total < 8e9 < 13e9 < plain.total
    assert shape.portraits(4, True, 8, ATTENTION).total < 12e9


def test_doctor_is_told_without_loading_a_weight(base):
    settings = Settings(model=ModelSettings(path=str(base), device="cpu"))
    said = training_planned(settings) | portraits_planned(settings)
    assert set(said) == {"train", "train_recomputing", "generate"}
    assert said["train_recomputing"] < said["train"]


def test_doctor_says_what_is_more_than_a_gpu_has(monkeypatch):
    """By SDXL's figures at 1024 pixels, on GPUs of 8 to 80 GB."""
    shape = footprint("sdxl", 1024, torch.bfloat16)
    peaks = {
        name: shape.training(1, 8, ATTENTION, again).total
        for name, again in (("train", False), ("train_recomputing", True))
    }
    peaks["generate"] = shape.portraits(4, True, 8, ATTENTION).total
    monkeypatch.setattr(doctor, "planned_peaks", lambda settings: peaks)
    too_much = {}
    for gigabytes in (8, 12, 16, 24, 80):
        with pretend_gpu(memory=gigabytes * 10**9):
            said = doctor._diffusion(Settings(model=ModelSettings(device="cuda")))
        assert (said["gpu"], said["memory_gb"]) == ("Pretend A10G", gigabytes)
        plans = said["planned peak"].items()
        too_much[gigabytes] = {name for name, told in plans if told.endswith("more than the GPU has")}
    assert too_much == {8: {"train", "generate"}, 12: {"train"}, 16: set(), 24: set(), 80: set()}


@pytest.mark.parametrize("opened", ["base model", "ControlNet", "few-step LoRA"])
def test_memory_that_is_short_while_files_are_read_is_no_missing_model(base, tmp_path, monkeypatch, opened):
    model = load_model(ModelSettings(path=str(base), device="cpu"))
    control = make_tiny_control(tmp_path / "canny", model.unet)
    lora(model.unet, str(tmp_path), 8, 9)
    few = FewStepSettings(path=str(tmp_path / "8-9.safetensors"))
    opening = {
        "base model": lambda: load_model(ModelSettings(path=str(base), device="cpu")),
        "ControlNet": lambda: open_control(str(control), torch.float32),
        "few-step LoRA": lambda: distillation_lora.fuse_distillation_lora(model, few),
    }

    def load(*arguments, **named):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory")

    for module in (safetensors.torch, safetensors):
        for name in ("load_file", "safe_open"):
            monkeypatch.setattr(module, name, load, raising=False)
    with pytest.raises(OutOfMemory):
        opening[opened]()


class TestOnAGpu:
    @pytest.fixture
    def gpu(self):
        with pretend_gpu() as watch:
            yield watch

    def test_layers_are_run_again_only_where_memory_is_short(self, gpu, base, monkeypatch):
        model, plan = load_model(ModelSettings(path=str(base), device="cuda")), TrainingPlan()
        with recomputing(model, plan) as again:
            assert not again
            assert not model.unet.is_gradient_checkpointing
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**6, 10**6))
        with recomputing(model, plan) as again:
            assert again
            assert model.unet.is_gradient_checkpointing
        assert not model.unet.is_gradient_checkpointing

    def test_the_cpu_never_runs_them_again(self, base, monkeypatch):
        monkeypatch.setattr(memory, "HEADROOM", 1e9)
        assert not is_short(load_model(ModelSettings(path=str(base), device="cpu")), TrainingPlan())

    def test_encoders_are_on_the_gpu_for_the_words_only(self, gpu, tmp_path):
        model = load_model(ModelSettings(path=str(make_tiny_sdxl(tmp_path)), device="cuda"))
        assert {next(one.parameters()).device.type for one in model.encoders} == {"cuda"}
        first = embed_prompts(model)
        assert {next(one.parameters()).device.type for one in model.encoders} == {"cpu"}
        assert first.prompt.states.device.type == "cuda"
        assert gpu.emptied
        again = embed_prompts(model)
        assert torch.equal(first.prompt.states.cpu(), again.prompt.states.cpu())

    def test_faces_go_through_the_autoencoder_one_by_one_where_they_are_large(self, gpu, base):
        model = load_model(ModelSettings(path=str(base), device="cuda"))
        large = replace(model, working=model.working.model_copy(update={"size": 1024}))
        seen = []
        model.vae.decoder.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
        latents = torch.zeros(4, 16, 8, 8, device="cuda")
        diffusers = Diffuser(large), Diffuser(model)
        with torch.no_grad():
            for diffuser in diffusers:
                diffuser._decode_difference(latents, latents)
        assert seen[:8] == [1] * 8
        assert seen[8:] == [4, 4]
        assert DECODED_AT_ONCE == 1024**2

    def test_a_few_step_lora_is_fused_part_by_part_and_leaves_nothing_reserved(self, gpu, base, tmp_path):
        model = load_model(ModelSettings(path=str(base), device="cuda"))
        lora(load_model(ModelSettings(path=str(base), device="cpu")).unet, str(tmp_path), 8, 9)
        largest, real = [], torch.nn.Module.float

        def counted(module):
            largest.append(sum(parameter.numel() for parameter in module.parameters()))
            return real(module)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.Module, "float", counted)
            few = distillation_lora.fuse_distillation_lora(
                model, FewStepSettings(path=str(tmp_path / "8-9.safetensors"))
            )
        assert max(largest) < sum(parameter.numel() for parameter in few.unet.parameters()) / 3
        assert {parameter.dtype for parameter in few.unet.parameters()} == {model.dtype}
        assert gpu.emptied
