"""The train function on base models of rectified flow, from photos to adapter."""

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from shared.lifecycle.shutdown import HandedBack
from shared.models.diffusion import load_model
from shared.settings import ModelSettings
from tests.fake_workspace import Desk
from tests.functional.test_train import SPACING, InterruptingDesk, photos, rough_validation, trained
from tests.tiny_flow import MAKERS

__all__ = ["photos", "rough_validation"]  # fixtures


@pytest.fixture(scope="module", params=list(MAKERS))
def model(request, tmp_path_factory):
    folder = MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "base", 64)
    return load_model(ModelSettings(path=str(folder), device="cpu"))


def test_a_resumed_training_ends_with_the_adapter_of_an_uninterrupted_one(model, engine, photos):
    before = {name: value.clone() for name, value in model.denoiser.state_dict().items()}
    desk = InterruptingDesk(photos)
    with pytest.raises(HandedBack):
        trained(model, engine, photos, desk=desk)
    resumed, after = trained(model, engine, photos, desk=Desk(desk.objects, attempt=2))
    whole, desk = trained(model, engine, photos)
    assert (resumed.data["resumed_at"], whole.data["resumed_at"]) == (SPACING, 0)
    for key in ("lora", "lora_kohya", "validation", "report"):
        assert after.objects[resumed.data[key]] == desk.objects[whole.data[key]], key
    names = safetensors.torch.load(desk.objects[whole.data["lora"]])
    assert all(name.startswith("transformer.") for name in names)
    assert any(one.abs().max() > 0 for name, one in names.items() if "lora_B" in name)
    sheet = cv2.imdecode(np.frombuffer(desk.objects[whole.data["validation"]], np.uint8), cv2.IMREAD_COLOR)
    assert sheet.std() > 10
    assert all(torch.equal(model.denoiser.state_dict()[name], value) for name, value in before.items())
