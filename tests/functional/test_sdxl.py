"""SDXL's shape through training and repainting, and where base models come from."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

from functions.generate.diffusion.img2img import Denoising, Diffuser
from functions.generate.diffusion.inpaint_region import InpaintRegion
from functions.generate.diffusion.prompt import PromptCache
from functions.train import validation
from functions.train.handler import TrainFunction
from functions.train.plan import TrainingPlan
from functions.train.training import Trainer
from shared.faces.base import Box
from shared.models import model_loading
from shared.models.conditioning import predict_noise
from shared.models.diffusion import BaseModelMissing, ModelProfile, load_model
from shared.settings import Limits, ModelSettings, Settings, TrainSettings
from tests.fake_workspace import FakeWorkspace
from tests.pictures import astronaut, hopper, jpeg, variations
from tests.tiny_sdxl import make_tiny_sdxl

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_sdxl(tmp_path_factory.mktemp("base") / "tiny-xl")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(ModelSettings(path=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def pipeline(folder):
    return StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)


def prediction(unet, conditioning):
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return predict_noise(unet, latents, torch.tensor([500]), conditioning)


def test_words_are_conditioned_as_the_stock_pipeline_does(model, pipeline):
    ours = model.condition("photo of sks person")
    states, _, pooled, _ = pipeline.encode_prompt("photo of sks person", do_classifier_free_guidance=False)
    assert torch.allclose(ours.states, states, atol=1e-5)
    assert torch.allclose(ours.added["text_embeds"], pooled, atol=1e-5)
    sizes = pipeline._get_add_time_ids((64, 64), (0, 0), (64, 64), torch.float32, pooled.shape[-1])
    assert torch.equal(ours.added["time_ids"], sizes)


def test_a_training_makes_files_that_the_stock_pipeline_wears(model, pipeline, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "STEPS", 3)  # its pictures are not what this looks at
    small = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in variations(hopper(), 7))
    photos = {f"{index}.jpg": jpeg(image) for index, image in enumerate(small)}
    knobs = {"user_id": "grace", "max_train_steps": 6, "val_save_checkpointing_steps": 6}
    workspace = FakeWorkspace(photos)
    function = TrainFunction(Trainer(model, engine, Limits(), TrainingPlan(learning_rate=2e-2, rank=4, alpha=4)))
    data = function.answer({"request_id": 1, "images": list(photos), "configure": knobs}, workspace).data
    assert [one["step"] for one in data["checkpoints"]] == [0, 6]
    words, bare, worn = model.condition("a person"), None, []
    bare = prediction(pipeline.unet, words)
    for key in ("lora", "lora_kohya"):
        (tmp_path / f"{key}.safetensors").write_bytes(workspace.objects[data[key]])
        pipeline.load_lora_weights(tmp_path, weight_name=f"{key}.safetensors")
        worn.append(prediction(pipeline.unet, words))
        pipeline.unload_lora_weights()
    assert not torch.allclose(worn[0], bare, atol=1e-4)
    assert torch.allclose(worn[0], worn[1], atol=1e-6)


def test_a_face_is_repainted(model):
    mask = np.zeros((512, 512), np.float32)
    mask[90:150, 190:250] = 1
    words = PromptCache(model).of("ann")
    canvas = InpaintRegion(astronaut(), Box(150, 50, 300, 200), mask, np.zeros((68, 2)), words, seed=1)
    (painted,) = Diffuser(model).repaint([canvas], Denoising(10, 0.5))
    assert not np.array_equal(painted, astronaut())
    assert np.array_equal(painted[:80], astronaut()[:80])


def test_each_architecture_has_its_plan_and_settings_override_it(monkeypatch):
    xl = TrainingPlan.for_model(ModelProfile(size=1024), "sdxl")
    assert (xl.batch, xl.rank, xl.gamma) == (1, 8, 5.0)
    assert TrainingPlan.for_model(ModelProfile()).batch == 4
    monkeypatch.setenv("PHOTOG_TRAIN__RANK", "32")
    monkeypatch.setenv("PHOTOG_TRAIN__TARGETS", '["to_q", "to_v"]')
    plan = TrainingPlan.for_model(ModelProfile(), "sd15", Settings().train)
    assert (plan.rank, plan.alpha, plan.targets) == (32, 32, ("to_q", "to_v"))
    assert TrainingPlan.for_model(ModelProfile(), "sd15", TrainSettings(rank=8, alpha=2)).alpha == 2


def test_a_single_file_is_told_by_the_names_of_its_tensors(tmp_path, monkeypatch):
    one = {"model.diffusion_model.time_embed.0.weight": torch.zeros(1)}
    save_file(one, tmp_path / "one.safetensors")
    save_file(one | {"conditioner.embedders.1.model.ln_final.weight": torch.zeros(1)}, tmp_path / "xl.safetensors")
    asked = []

    def open_file(cls, path, **options):
        asked.append((cls, path, options))
        return SimpleNamespace(components={})

    for pipeline in model_loading.PIPELINES.values():
        monkeypatch.setattr(pipeline, "from_single_file", classmethod(open_file))
    for name, kind in (("one", "sd15"), ("xl", "sdxl")):
        settings = ModelSettings(path=str(tmp_path / f"{name}.safetensors"), config=tmp_path)
        where = model_loading.resolve_source(settings)
        assert (where.name, where.kind, model_loading.read_architecture(where)) == (name, "file", kind)
        model_loading.open_model(settings, where, kind, torch.float32)
    assert [cls.__name__ for cls, *_ in asked] == ["StableDiffusionPipeline", "StableDiffusionXLPipeline"]
    assert asked[0][2]["config"] == str(tmp_path)


def test_a_path_with_a_slash_that_is_not_there_is_a_hub_id(tmp_path):
    assert model_loading.resolve_source(ModelSettings(path="someone/model-1.5")).kind == "hub"
    for path in (str(tmp_path / "nowhere"), "nothing", "a/b/c"):
        with pytest.raises(BaseModelMissing, match="hub id"):
            model_loading.resolve_source(ModelSettings(path=path))


def test_other_architectures_are_refused_by_name(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    where = model_loading.resolve_source(ModelSettings(path=str(tmp_path)))
    with pytest.raises(BaseModelMissing, match="FluxPipeline"):
        model_loading.read_architecture(where)
