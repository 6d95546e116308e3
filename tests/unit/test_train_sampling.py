"""Validation pictures: with guidance at the noise levels at which generate has it."""

import pytest
import torch

from functions.train.sampling import PromptEmbeddings, sample_pictures
from shared.models.diffusion import load_model
from shared.settings import ModelSettings
from tests.tiny_base import make_tiny_base


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(ModelSettings(path=str(make_tiny_base(tmp_path_factory.mktemp("base"))), device="cpu"))


@pytest.fixture
def sample(model):
    def run(**profile):
        guided = type(model)(**vars(model) | {"working": model.working.model_copy(update=profile)})
        words = PromptEmbeddings(model.condition("a person"), model.condition("blurry"))
        noise = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
        return sample_pictures(guided, words, noise, noise, strength=1.0, steps=4)

    return run


def test_guidance_counts_only_within_the_models_noise_levels(sample):
    plain = sample(guidance=1.0)
    assert torch.equal(sample(guidance=4.0, guided=(1e6, 1e7)), plain)
    everywhere, some = sample(guidance=4.0, guided=None), sample(guidance=4.0, guided=(0.7, 5.42))
    assert not torch.equal(everywhere, plain)
    assert not torch.equal(some, everywhere)
