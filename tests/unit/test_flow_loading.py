"""Base models of rectified flow from a folder, a single file and a hub id; what is refused; what memory is planned."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from functions.generate.handler import planned_peak as portraits_planned
from functions.train.handler import planned_peak as training_planned
from functions.train.plan import TrainingPlan
from shared.models import controls, distillation_lora, model_loading, shapes
from shared.models.architectures import ARCHITECTURES
from shared.models.diffusion import BaseModelMissing, load_model
from shared.models.planned_peak import weights
from shared.models.profile import PROFILE_FILE, ModelProfile
from shared.models.shapes import FLOW_PARTS, build_flow_footprint
from shared.settings import ControlSettings, FewStepSettings, ModelSettings, Settings
from tests.tiny_flow import MAKERS

CLASSES = {"z-image": ZImageTransformer2DModel, "flux2-klein": Flux2Transformer2DModel}


@pytest.fixture(scope="module", params=list(MAKERS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return MAKERS[kind](tmp_path_factory.mktemp(kind) / "base")


def rename(tensors, patterns):
    """Rename tensors by regular expressions, each name by all that match."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, new in patterns:
            name = re.sub(pattern, new, name)
        found[name] = tensor
    return found


def fuse(tensors, fused):
    """Put tensors together that were one: `fused` has for each end of a name those of its three parts."""
    found = dict(tensors)
    for whole, parts in fused.items():
        for name in [name for name in tensors if name.endswith(parts[0])]:
            stem = name.removesuffix(parts[0])
            found[stem + whole] = torch.cat([found.pop(stem + part) for part in parts])
    return found


def as_kleins_first_release(tensors):
    """As Black Forest Labs' flux2 names its modules, src/flux2/model.py; the last norm has shift before scale."""
    scale, shift = tensors["norm_out.linear.weight"].chunk(2)
    tensors = tensors | {"norm_out.linear.weight": torch.cat([shift, scale])}
    fused = {
        "img_attn.qkv.weight": [f"attn.to_{one}.weight" for one in "qkv"],
        "txt_attn.qkv.weight": [f"attn.add_{one}_proj.weight" for one in "qkv"],
    }
    return rename(
        fuse(tensors, fused),
        [
            (r"^x_embedder", "img_in"),
            (r"^context_embedder", "txt_in"),
            (r"^time_guidance_embed\.timestep_embedder\.linear_1", "time_in.in_layer"),
            (r"^time_guidance_embed\.timestep_embedder\.linear_2", "time_in.out_layer"),
            (r"^(.*_modulation.*)\.linear", r"\1.lin"),
            (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
            (r"^proj_out", "final_layer.linear"),
            (r"^(single_transformer_blocks\.\d+)\.attn\.to_qkv_mlp_proj", r"\1.linear1"),
            (r"^(single_transformer_blocks\.\d+)\.attn\.to_out", r"\1.linear2"),
            (r"^(single_transformer_blocks\.\d+)\.attn\.norm_q\.weight", r"\1.norm.query_norm.scale"),
            (r"^(single_transformer_blocks\.\d+)\.attn\.norm_k\.weight", r"\1.norm.key_norm.scale"),
            (r"^single_transformer_blocks", "single_blocks"),
            (r"attn\.norm_q\.weight", "img_attn.norm.query_norm.scale"),
            (r"attn\.norm_k\.weight", "img_attn.norm.key_norm.scale"),
            (r"attn\.norm_added_q\.weight", "txt_attn.norm.query_norm.scale"),
            (r"attn\.norm_added_k\.weight", "txt_attn.norm.key_norm.scale"),
            (r"attn\.to_out\.0", "img_attn.proj"),
            (r"attn\.to_add_out", "txt_attn.proj"),
            (r"ff\.linear_in", "img_mlp.0"),
            (r"ff\.linear_out", "img_mlp.2"),
            (r"ff_context\.linear_in", "txt_mlp.0"),
            (r"ff_context\.linear_out", "txt_mlp.2"),
            (r"^transformer_blocks", "double_blocks"),
        ],
    )


def as_z_images_first_release(tensors):
    """As Tongyi's file for ComfyUI names its modules."""
    fused = {"attention.qkv.weight": [f"attention.to_{one}.weight" for one in "qkv"]}
    return rename(
        fuse(tensors, fused),
        [
            (r"attention\.to_out\.0", "attention.out"),
            (r"attention\.norm_(q|k)", r"attention.\1_norm"),
            (r"^all_(x_embedder|final_layer)\.2-1", r"\1"),
        ],
    )


FIRST_RELEASE = {"z-image": as_z_images_first_release, "flux2-klein": as_kleins_first_release}


@torch.no_grad()
def prediction(model):
    latents = torch.full((1, *model.latent_shape), 0.5)
    return model.predict(latents, torch.tensor(300.0), model.condition("a person"))


def single_file(folder, place, prefix):
    tensors = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, place)
    return place


class TestASingleFile:
    @pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
    def test_it_is_recognized_by_its_tensors(self, kind, folder, tmp_path, prefix):
        file = single_file(folder, tmp_path / "it.safetensors", prefix)
        where = model_loading.resolve_source(ModelSettings(path=str(file)))
        assert (where.kind, model_loading.read_architecture(where)) == ("file", kind)

    def test_it_is_the_transformer_and_the_folder_has_the_rest(self, kind, folder, tmp_path):
        rest = tmp_path / "rest"
        shutil.copytree(folder, rest, ignore=shutil.ignore_patterns("diffusion_pytorch_model.safetensors"))
        shutil.copy(folder / "vae" / "diffusion_pytorch_model.safetensors", rest / "vae")
        settings = ModelSettings(
            path=str(single_file(folder, tmp_path / "it.safetensors", "")), config=rest, device="cpu"
        )
        model = load_model(settings)
        assert (model.name, model.architecture) == ("it", kind)
        small = ModelProfile.model_validate(ARCHITECTURES[kind].profile).model_copy(update={"size": 64})
        whole = load_model(ModelSettings(path=str(folder), device="cpu"))
        # a file has no photog.json, and a picture of 1024 pixels takes its time
        assert torch.equal(prediction(replace(model, working=small)), prediction(whole))

    @pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
    def test_it_may_have_the_names_of_the_first_release(self, kind, folder, tmp_path, prefix):
        tensors = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
        first = {prefix + name: tensor for name, tensor in FIRST_RELEASE[kind](tensors).items()}
        assert not {name.removeprefix(prefix) for name in first} & {"all_x_embedder.2-1.weight", "proj_out.weight"}
        save_file(first, tmp_path / "it.safetensors")
        model = load_model(ModelSettings(path=str(tmp_path / "it.safetensors"), config=folder, device="cpu"))
        loaded = model.denoiser.state_dict()
        assert set(loaded) == set(tensors)
        assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())

    def test_one_of_eight_bit_floats_with_scales_is_refused(self, folder, tmp_path):
        tensors = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
        name = next(name for name in tensors if name.endswith(".weight"))
        save_file(tensors | {f"{name}_scale": torch.ones(1)}, tmp_path / "it.safetensors")
        settings = ModelSettings(path=str(tmp_path / "it.safetensors"), config=folder, device="cpu")
        with pytest.raises(BaseModelMissing, match=r"8-bit floats.*take the file in bfloat16"):
            load_model(settings)

    def test_without_a_folder_the_error_says_what_is_missing(self, folder, tmp_path):
        (tmp_path / "empty").mkdir()
        file = single_file(folder, tmp_path / "it.safetensors", "")
        settings = ModelSettings(path=str(file), config=tmp_path / "empty", device="cpu")
        with pytest.raises(BaseModelMissing, match="PHOTOG_MODEL__CONFIG"):
            load_model(settings)

    def test_tensors_of_no_known_architecture_are_refused_with_the_known_ones(self, tmp_path):
        save_file({"double_blocks.0.img_mod.lin.weight": torch.zeros(1)}, tmp_path / "flux1.safetensors")
        with pytest.raises(BaseModelMissing, match=r"double_blocks.*Stable Diffusion XL.*Z-Image.*FLUX\.2 klein"):
            load_model(ModelSettings(path=str(tmp_path / "flux1.safetensors"), device="cpu"))

    def test_a_file_that_only_has_the_name_is_no_safetensors(self, tmp_path):
        (tmp_path / "it.safetensors").write_bytes(b"not at all")
        with pytest.raises(BaseModelMissing, match=r"no \.safetensors file"):
            load_model(ModelSettings(path=str(tmp_path / "it.safetensors"), device="cpu"))


def test_a_hub_id_is_asked_of_the_hub_by_its_class(kind, folder, monkeypatch):
    """The hub is far away: its index is answered here, and the pipeline comes from the folder."""
    pipeline = model_loading.FLOWS[kind][0]
    real, asked = pipeline.from_pretrained, []

    def fetched(cls, place, **options):
        asked.append((place, options["local_files_only"]))
        return real(folder, **options | {"local_files_only": True})

    index = json.loads((folder / "model_index.json").read_text())
    monkeypatch.setattr(model_loading.DiffusionPipeline, "load_config", classmethod(lambda cls, place: index))
    monkeypatch.setattr(pipeline, "from_pretrained", classmethod(fetched))
    model = load_model(ModelSettings(path="somebody/model", device="cpu"))
    assert (model.name, model.architecture, asked) == ("somebody/model", kind, [("somebody/model", False)])


class TestWhatIsRefused:
    def test_another_pipeline_names_the_known_ones(self, tmp_path):
        (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
        with pytest.raises(BaseModelMissing, match=r"is a FluxPipeline.*ZImagePipeline.*Flux2KleinPipeline"):
            load_model(ModelSettings(path=str(tmp_path), device="cpu"))

    def test_a_size_that_is_no_whole_number_of_tokens(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "base")
        (tmp_path / "base" / PROFILE_FILE).write_text(json.dumps({"size": 100}))
        with pytest.raises(BaseModelMissing, match="size of 100: set one that 16 divides"):
            load_model(ModelSettings(path=str(tmp_path / "base"), device="cpu"))

    @pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"])
    def test_a_folder_that_lacks_a_part(self, folder, tmp_path, part):
        shutil.copytree(folder, tmp_path / "base")
        shutil.rmtree(tmp_path / "base" / part)
        with pytest.raises(BaseModelMissing, match=r"base cannot be loaded: ") as told:
            load_model(ModelSettings(path=str(tmp_path / "base"), device="cpu"))
        assert "\n" not in str(told.value)

    def test_controlnets_and_few_step_loras_of_stable_diffusion(self, folder):
        model = load_model(ModelSettings(path=str(folder), device="cpu"))
        with pytest.raises(BaseModelMissing, match="takes no ControlNets"):
            controls.load_controls([ControlSettings(kind="canny", path="any")], model)
        with pytest.raises(BaseModelMissing, match="takes no few-step LoRA"):
            distillation_lora.fuse_distillation_lora(model, FewStepSettings(path="any"))


class TestPlannedMemory:
    def test_doctor_is_told_without_loading_a_weight(self, folder):
        settings = Settings(model=ModelSettings(path=str(folder), device="cpu"))
        said = training_planned(settings) | portraits_planned(settings)
        assert set(said) == {"train", "train_recomputing", "generate"}
        assert said["train_recomputing"] < said["train"]

    def test_of_a_hub_id_only_the_configurations_are_fetched(self, kind, folder, monkeypatch):
        index, asked = json.loads((folder / "model_index.json").read_text()), []

        def fetched(cls, place, subfolder):
            asked.append(subfolder)
            return json.loads((folder / subfolder / "config.json").read_text())

        monkeypatch.setattr(shapes.DiffusionPipeline, "load_config", classmethod(lambda cls, place: index))
        monkeypatch.setattr(shapes.AutoencoderKL, "load_config", classmethod(fetched))
        read, _, shape = shapes.read_configured(ModelSettings(path="somebody/model", device="cpu"))
        assert (read, asked) == (kind, ["transformer", "vae", "text_encoder"])
        assert sum(one.numel() for one in shape.denoiser.parameters()) < 10**6, "the tiny one's"

    def test_a_single_file_of_the_larger_klein_is_planned_as_such(self, tmp_path):
        planned = {}
        for width in (3072, 4096):
            file = tmp_path / f"{width}.safetensors"
            names = ("single_stream_modulation.lin.weight", "double_stream_modulation_img.lin.weight")
            save_file({name: torch.zeros(1, width) for name in names}, file)
            _, _, shape = shapes.read_configured(ModelSettings(path=str(file), device="cpu"))
            parts = (shape.denoiser, *shape.encoders)
            planned[width] = [round(weights(part, torch.float32) / 4e9, 1) for part in parts]
        assert planned == {3072: [3.9, 4.0], 4096: [9.1, 8.2]}

    def test_the_weights_are_those_of_the_published_models(self):
        """By their model cards: parameters of transformer, autoencoder and language model, in billions."""
        counts = {}
        for kind in FLOW_PARTS:
            shape = build_flow_footprint(kind, FLOW_PARTS[kind], ModelProfile(size=1024), torch.bfloat16)
            parts = (shape.denoiser, shape.vae, *shape.encoders)
            counts[kind] = [round(weights(part, torch.float32) / 4e9, 2) for part in parts]
        assert counts == {"z-image": [6.15, 0.08, 4.02], "flux2-klein": [3.88, 0.08, 4.02]}

    def test_what_is_planned_to_be_kept_is_what_a_real_pass_keeps(self, kind, folder):
        """With real tensors of the tiny model in float32."""
        model = load_model(ModelSettings(path=str(folder), device="cpu"))
        plan = TrainingPlan.for_model(model.working, kind)
        planned = model.footprint().training(2, 4, plan.targets, recomputing=False).saved
        model.denoiser.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=list(plan.targets)))
        own, found = {one.untyped_storage().data_ptr() for one in model.denoiser.parameters()}, {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model._pass(model.denoiser, 2)
        assert planned == pytest.approx(sum(one.nbytes() for one in found.values()), rel=0.02)

    @pytest.mark.parametrize(
        ("kind", "bits", "gigabytes"),
        [
            ("flux2-klein", "int8", (12.5, 12.7)),
            ("flux2-klein", "nf4", (10.6, 10.8)),
            ("z-image", "int8", (14.8, 15.0)),
            ("z-image", "nf4", (11.8, 12.0)),
        ],
    )
    def test_so_are_those_of_quantized_weights(self, kind, bits, gigabytes):
        known = ARCHITECTURES[kind]
        profile, targets = ModelProfile.model_validate(dict(known.profile)), known.training["targets"]
        shape = build_flow_footprint(kind, FLOW_PARTS[kind], profile, torch.bfloat16, bits)
        plans = shape.encoding(), shape.portraits(1, True, 16, targets)
        assert tuple(round(plan.total / 1e9, 1) for plan in plans) == gigabytes

    @pytest.mark.slow  # passes of billions of parameters, though without memory: 2 and 3 CPU seconds
    @pytest.mark.parametrize(
        ("kind", "gigabytes"), [("flux2-klein", (27.0, 11.0, 16.4, 16.6)), ("z-image", (52.0, 15.8, 21.0, 21.2))]
    )
    def test_the_figures_of_the_documentation_are_those_of_the_plan(self, kind, gigabytes):
        known = ARCHITECTURES[kind]
        profile, targets = ModelProfile.model_validate(dict(known.profile)), known.training["targets"]
        shape = build_flow_footprint(kind, FLOW_PARTS[kind], profile, torch.bfloat16)
        plans = [shape.training(1, 16, targets, again) for again in (False, True)]
        plans += [shape.encoding(), shape.portraits(1, True, 16, targets)]
        assert tuple(round(plan.total / 1e9, 1) for plan in plans) == gigabytes
