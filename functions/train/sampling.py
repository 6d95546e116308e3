"""Sampling with the loaded base model and its active adapter: DDIM from a crop or from noise."""

from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler

from shared.models.conditioning import Conditioning, guide, predict_noise
from shared.models.diffusion import DiffusionModel
from shared.models.noise import add_noise
from shared.models.transfers import copy_to_device


@dataclass(frozen=True, eq=False)
class PromptEmbeddings:
    """The conditioning by the prompt and by the negative prompt, each for one picture, computed once."""

    prompt: Conditioning
    negative: Conditioning


@torch.no_grad()
def sample_pictures(
    model: DiffusionModel,
    words: PromptEmbeddings,
    starts: torch.Tensor,
    noise: torch.Tensor,
    strength: float,
    steps: int,
) -> torch.Tensor:
    """Denoise a batch of latents with DDIM.

    Args:
        model: the base model, with or without an active adapter.
        words: the prompts.
        starts: latents to start from, float32, (B, C, h, w); not used at strength 1.
        noise: float32, (B, C, h, w).
        strength: denoising strength in (0, 1]: the share of the `steps` that are run.
        steps: number of steps of the whole schedule.

    Returns:
        Denoised latents, float32, (B, C, h, w).
    """
    scheduler = DDIMScheduler.from_config(model.scheduler.config)
    scheduler.set_timesteps(steps, device="cpu")  # on a GPU, looking a time step up would wait for the GPU each time
    times = scheduler.timesteps[steps - max(1, round(steps * strength)) :]
    latents = noise if strength >= 1 else add_noise(scheduler, starts, noise, times[:1])
    for time, on_device in zip(times, copy_to_device(times, model.device), strict=True):
        latents = scheduler.step(_predict(model, words, latents, on_device), time, latents).prev_sample
    return latents


def _predict(model: DiffusionModel, words: PromptEmbeddings, latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    scale = model.working.guidance
    inputs = latents.to(model.dtype)
    prompt = words.prompt.expand(len(latents))
    if scale <= 1:
        return predict_noise(model.unet, inputs, time, prompt).float()
    both = words.negative.expand(len(latents)).concatenate(prompt)
    negative, positive = predict_noise(model.unet, torch.cat([inputs, inputs]), time, both).float().chunk(2)
    return guide(negative, positive, scale)
