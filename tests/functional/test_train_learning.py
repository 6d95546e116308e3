"""Whether training learns anything."""

import numpy as np
import pytest
import torch

from functions.train.dataset import prepare_dataset
from functions.train.lora import add_adapter
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.training_inputs import embed_prompts, prepare_inputs
from shared.faces.mesh import MeshEngine
from shared.models.diffusion import load_model
from shared.settings import FaceSettings, Limits, ModelSettings
from tests.fake_workspace import FakeWorkspace
from tests.pictures import hopper, jpeg, variations
from tests.tiny_base import make_tiny_base

STEPS = 150
PLAN = TrainingPlan(learning_rate=3e-3, gamma=320, crops=4)


@torch.no_grad()
def paired_loss(model, learned, states):
    """The loss of all crops at twenty noise levels, with the same noise at every call."""
    generator = torch.Generator().manual_seed(1)
    latents, masks = learned.cache.latents.mean, learned.cache.masks
    values = []
    for time in range(0, 1000, 50):
        noise = torch.randn(latents.shape, generator=generator)
        times = torch.full((len(latents),), time)
        values.append(float(learned.loss(latents, noise, times, states, masks)))
    return float(np.mean(values))


@pytest.mark.slow
def test_a_hundred_and_fifty_steps_learn_the_photos(tmp_path):
    """The loss of random weights falls by a tenth at least, by attention alone."""
    model = load_model(ModelSettings(path=str(make_tiny_base(tmp_path)), device="cpu"))
    files = {f"{index}.jpg": jpeg(image) for index, image in enumerate(variations(hopper(), 6))}
    photos = prepare_dataset(
        list(files), FakeWorkspace(files), MeshEngine(FaceSettings(provider="cpu")), model.working, Limits()
    ).photos
    said = embed_prompts(model)
    learned = prepare_inputs(model, dict(enumerate(photos)), said.prompt, PLAN, STEPS)
    with add_adapter(model, PLAN) as adapter:
        before = paired_loss(model, learned, said.prompt)
        for _ in OptimizerSteps(adapter, learned, PLAN, STEPS):
            pass
        assert paired_loss(model, learned, said.prompt) < 0.9 * before
