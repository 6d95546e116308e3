"""Cached latents equal those that would be computed for every step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from functions.train.crops import Crop
from functions.train.latents import Latents, cache_latents, decode, encode
from functions.train.loss import DiffusionLoss
from shared.models.diffusion import load_model
from shared.settings import ModelSettings
from tests.tiny_base import make_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(ModelSettings(path=str(make_tiny_base(tmp_path_factory.mktemp("base"))), device="cpu"))


@pytest.fixture(scope="module")
def distributed(base):
    """The same base model with an autoencoder that returns distributions, like Stable Diffusion's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=16,
            norm_num_groups=4,
            scaling_factor=0.18215,
        )
    return replace(base, vae=vae.eval().requires_grad_(False))


def crops(count=6):
    generator = np.random.default_rng(1)
    made = {}
    for index in range(count):
        image = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        made[(index // 2, index % 2)] = Crop(image, generator.random((64, 64), dtype=np.float32))
    return made


def plain_loss(model, crop, noise, posterior_noise, times, states):
    """Compute the loss like a script without a cache: encode the picture now and draw from its distribution."""
    pixels = torch.from_numpy(crop.image).permute(2, 0, 1)[None].float() / 127.5 - 1
    encoded = model.vae.encode(pixels)
    if hasattr(encoded, "latent_dist"):
        latents = encoded.latent_dist.mean + encoded.latent_dist.std * posterior_noise
    else:
        latents = encoded.latents
    mask = torch.from_numpy(crop.mask).reshape(1, 1, 8, 8, 8, 8).mean(dim=(3, 5))
    latents = latents * model.vae.config.scaling_factor
    return DiffusionLoss(model, model.objective(5.0))(latents, noise, times, states, mask)


@pytest.mark.parametrize("kind", ["base", "distributed"])
def test_cached_and_uncached_loss_agree_on_the_same_noise(kind, request):
    model = request.getfixturevalue(kind)
    made = crops()
    cache = cache_latents(model, made)
    states = model.condition("photo of sks person")
    loss = DiffusionLoss(model, model.objective(5.0))
    for row, key in enumerate(cache.keys):
        posterior = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(row))
        noise = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(100 + row))
        times = torch.tensor([150 * row + 20])
        rows = torch.tensor([row])
        latents = cache.latents.rows(rows).sample(torch.Generator().manual_seed(row))
        ours = loss(latents, noise, times, states, cache.masks[rows])
        theirs = plain_loss(model, made[key], noise, posterior, times, states)
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4)


def test_a_crop_is_found_by_photo_and_number_however_they_were_handed_in(base):
    made = crops()
    shuffled = dict(sorted(made.items(), key=lambda item: -item[0][1]))
    straight, other = cache_latents(base, made), cache_latents(base, shuffled)
    assert straight.keys == other.keys
    assert torch.allclose(straight.latents.mean, other.latents.mean, atol=1e-5)


def test_a_distribution_is_drawn_from_anew_at_each_use(distributed):
    latents = encode(distributed, [crop.image for crop in crops(2).values()])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([latents.sample(generator) for _ in range(400)])
    assert torch.allclose(draws.mean(dim=0), latents.mean, atol=float(latents.deviation.max()) * 0.3)
    assert torch.allclose(draws.std(dim=0), latents.deviation, rtol=0.3)


def test_many_crops_are_encoded_like_one(base):
    images = [crop.image for crop in crops(10).values()]
    together = encode(base, images).mean
    assert torch.allclose(together[9:], encode(base, images[9:]).mean, atol=1e-5)


def test_decoding_undoes_the_scaling_of_encoding(distributed):
    latents = encode(distributed, [next(iter(crops(1).values())).image]).mean
    picture = decode(distributed, latents)[0]
    raw = distributed.vae.decode(latents / 0.18215).sample[0].clamp(-1, 1)
    expected = ((raw + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(picture, expected.astype(np.uint8))


def test_latents_without_a_deviation_are_what_they_are():
    latents = Latents(torch.ones(1, 2, 2, 2), None)
    assert torch.equal(latents.sample(torch.Generator()), latents.mean)
