"""Rectified flow from photos to adapter, and from adapter to portrait."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from functions.generate.handler import GenerateFunction
from functions.generate.models import GenerateModels
from functions.train.handler import TrainFunction
from shared.contract import keys
from shared.lifecycle.shutdown import HandedBack
from shared.models.diffusion import load_model
from shared.models.licenses import KLEIN, warn_of_license
from shared.settings import ModelSettings, Settings
from tests.deployment import ROOT
from tests.fake_workspace import FakeWorkspace
from tests.functional.test_train import SPACING, InterruptingWorkspace, photos, rough_validation, train
from tests.pictures import astronaut, png
from tests.tiny_flow import MAKERS

PLACES = "results/any/", "results/train/"  # of artifacts: the fake workspace's, and those of a training
__all__ = ["photos", "rough_validation"]  # fixtures


@pytest.fixture(scope="module", params=list(MAKERS))
def model(request, tmp_path_factory):
    folder = MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "base", 64)
    return load_model(ModelSettings(path=str(folder), device="cpu"))


def test_a_resumed_training_ends_with_the_adapter_of_an_uninterrupted_one(model, engine, photos):
    before = {name: value.clone() for name, value in model.denoiser.state_dict().items()}
    workspace = InterruptingWorkspace(photos)
    with pytest.raises(HandedBack):
        train(model, engine, photos, workspace=workspace)
    resumed, after = train(model, engine, photos, workspace=FakeWorkspace(workspace.objects, attempt=2))
    whole, workspace = train(model, engine, photos)
    assert (resumed.data["resumed_at"], whole.data["resumed_at"]) == (SPACING, 0)
    for key in ("lora", "lora_kohya", "validation", "report"):
        assert after.objects[resumed.data[key]] == workspace.objects[whole.data[key]], key
    tensors = safetensors.torch.load(workspace.objects[whole.data["lora"]])
    assert all(name.startswith("transformer.") for name in tensors)
    assert any(one.abs().max() > 0 for name, one in tensors.items() if "lora_B" in name)
    sheet = cv2.imdecode(np.frombuffer(workspace.objects[whole.data["validation"]], np.uint8), cv2.IMREAD_COLOR)
    assert sheet.std() > 10
    assert all(torch.equal(model.denoiser.state_dict()[name], value) for name, value in before.items())


def test_a_trained_person_gets_a_portrait_and_a_forbidding_license_warns_in_both_answers(model, engine, photos):
    card = {"license": "cc-by-nc-4.0", "reference": True}
    licensed = replace(model, working=model.working.model_copy(update=card))
    trained, workspace = train(licensed, engine, photos, steps=2)
    pointers = TrainFunction.pointers(None, trained.data)
    record = pointers[keys.model("grace")]
    assert record["base_model"] == model.name

    configure = {"user_id": "grace", "seed": 1, "image_format": "png"}
    configure |= {"first_diffusion_steps": 4, "second_diffusion_steps": 4}
    models = GenerateModels(Settings(model=ModelSettings(device="cpu")), engine, licensed)
    stored = {key.replace(*PLACES): data for key, data in workspace.objects.items()}
    person = json.dumps(record).replace(*PLACES).encode()
    desk = FakeWorkspace(stored | {keys.model("grace"): person, "t.png": png(astronaut())})
    body = {"request_id": "p", "template_image": "t.png", "configure": configure}
    answer = GenerateFunction(models).answer(body, desk).data
    picture = cv2.imdecode(np.frombuffer(desk.objects[answer["image_key"]], np.uint8), cv2.IMREAD_COLOR)
    for warnings in (trained.data["warnings"], answer["warnings"]):
        assert any("non-commercial use only (cc-by-nc-4.0)" in warning for warning in warnings)
    sample = json.loads((ROOT / "events/generate-answer-noncommercial.json").read_text())["data"]
    assert sample.keys() == answer.keys()
    assert sample["faces"][0].keys() == answer["faces"][0].keys()
    assert sample["warnings"] == warn_of_license("FLUX.2-klein-base-9B", KLEIN)
    assert models.refers_to_person == (model.architecture == "flux2-klein")
    template = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    changed = np.abs(picture.astype(int) - template).max(axis=2) > 0
    assert 0.01 < changed.mean() < 0.5
