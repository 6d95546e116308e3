"""Pictures out of the resident base model with whatever adapter it wears: DDIM from a crop or from noise."""

from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler

from shared.models.conditioning import Conditioning, predict_noise
from shared.models.diffusion import DiffusionModel
from shared.models.noise import noised
from shared.models.transfers import sent


@dataclass(frozen=True, eq=False)
class PromptEmbeddings:
    """The prompt and the negative prompt, of one picture each, computed once."""

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
    """Denoise a batch of latents.

    Args:
        starts, noise: (B, C, h, w), float32; at strength 1 the starts do not matter.
        strength: share in (0, 1] of the `steps` that are taken.
    """
    scheduler = DDIMScheduler.from_config(model.scheduler.config)
    scheduler.set_timesteps(steps, device="cpu")  # on a card each step would wait to know where in the schedule it is
    times = scheduler.timesteps[steps - max(1, round(steps * strength)) :]
    latents = noise if strength >= 1 else noised(scheduler, starts, noise, times[:1])
    for time, told in zip(times, sent(times, model.device), strict=True):
        latents = scheduler.step(_predicted(model, words, latents, told), time, latents).prev_sample
    return latents


def _predicted(
    model: DiffusionModel, words: PromptEmbeddings, latents: torch.Tensor, time: torch.Tensor
) -> torch.Tensor:
    scale = model.working.guidance
    given = latents.to(model.dtype)
    prompt = words.prompt.expand(len(latents))
    if scale <= 1:
        return predict_noise(model.unet, given, time, prompt).float()
    both = words.negative.expand(len(latents)).followed_by(prompt)
    without, following = predict_noise(model.unet, torch.cat([given, given]), time, both).float().chunk(2)
    guided: torch.Tensor = without + scale * (following - without)
    return guided
