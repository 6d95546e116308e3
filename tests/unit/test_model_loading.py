"""Base models of Stable Diffusion that are damaged or do not fit together: each is refused in one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from shared.faces.loading import name_engine
from shared.models.architectures import ARCHITECTURES
from shared.models.diffusion import EMBEDDED_FOLDER, PROFILE_FILE, BaseModelMissing, load_model
from shared.models.model_loading import resolve_source
from shared.models.model_name import name_base_model
from shared.models.shapes import read_configured
from shared.settings import FaceSettings, ModelSettings

INDEX = "model_index.json"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(EMBEDDED_FOLDER, tmp_path / "base")


def refusal(folder, act=load_model, **settings):
    with pytest.raises(BaseModelMissing) as told:
        act(ModelSettings(path=str(folder), device="cpu", **settings))
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("act", [load_model, read_configured])
@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (INDEX, "{", "no JSON"), (INDEX, "[]", "no JSON object"), (INDEX, "{}", "names no _class_name"),
        (INDEX, '{"_class_name": ["a"]}', "names no _class_name"), (PROFILE_FILE, "{", "no JSON"),
        (PROFILE_FILE, "[1]", "no JSON object"), (PROFILE_FILE, '{"size": "big"}', "photog.json: size: "),
        (INDEX, '{"_class_name": "Flux2KleinPipeline"}', "transformer"), ("unet/config.json", "{", "JSON"),
        (INDEX, '{"_class_name": "StableDiffusionXLPipeline"}', "text_encoder_2"),
    ],
)  # fmt: skip
def test_a_file_that_says_something_else(folder, act, file, text, said):
    (folder / file).write_text(text)
    assert said in refusal(folder, act)


def test_weights_of_another_size_than_the_configuration(folder):
    file = folder / "unet" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"cross_attention_dim": 99}))
    assert "base cannot be loaded: " in refusal(folder)


def test_a_tokenizer_without_its_files_knows_no_word(folder):
    """It would be made all the same, and prompts and triggers would mean nothing."""
    shutil.rmtree(folder / "tokenizer")
    assert "no words in its tokenizer" in refusal(folder)


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
@pytest.mark.parametrize(("config", "said"), [(EMBEDDED_FOLDER, "cannot be loaded"), ("/nowhere", "is no folder")])
def test_a_single_file_that_lacks_what_it_should_hold(tmp_path, kind, config, said):
    tensors = {
        f"{name}.weight".replace(".weight.weight", ".weight"): torch.zeros(2) for name in ARCHITECTURES[kind].tensors
    }
    save_file(tensors, tmp_path / "base.safetensors")
    assert said in refusal(tmp_path / "base.safetensors", config=config)


def test_the_name_of_a_base_model_is_known_without_loading_it(folder, tmp_path):
    file = tmp_path / "my.model.safetensors"
    file.touch()
    for path in ("portrait-tiny", str(folder), str(file), "someone/model-1.5"):
        assert name_base_model(path) == resolve_source(ModelSettings(path=path)).name
    assert name_base_model("/models/sd15") == "sd15", "also where the model is on other machines"
    assert name_base_model("/models/sd15.safetensors") == "sd15"


def test_the_name_of_a_face_engine_is_known_without_loading_it(engine):
    assert name_engine(FaceSettings()) == engine.name
    assert name_engine(FaceSettings(engine="insightface", model="/models/antelope")) == "insightface/antelope"
