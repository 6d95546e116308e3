"""Sampling with the loaded base model and its active adapter, from a crop or from noise."""

from dataclasses import dataclass
from functools import partial

import torch

from shared.models.base_model import Conditioning, DiffusionModel
from shared.models.guidance import guide
from shared.models.network_passes import NetworkPasses
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
    """Denoise a batch of latents, with guidance, and a pass of the network, at the steps where `generate` has them.

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
    schedule = model.schedule(steps, max(1, round(steps * strength)))
    passes = NetworkPasses(schedule, model.working.pass_span)
    latents = noise if strength >= 1 else schedule.add_noise(starts, noise, 0)
    for step, time in enumerate(copy_to_device(schedule.times, model.device)):
        seen = schedule.scale_input(latents, step).to(model.dtype)
        guided = model.working.is_guided(schedule.noise_over_signal(step))
        made = passes.predict(step, guided, partial(_predict, model, words, seen, time, guided))
        latents = schedule.step(made, latents, step)
    return latents


def _predict(
    model: DiffusionModel, words: PromptEmbeddings, seen: torch.Tensor, time: torch.Tensor, guided: bool
) -> torch.Tensor:
    prompt = words.prompt.expand(len(seen))
    if not guided:
        return model.predict(seen, time, prompt).float()
    both = words.negative.expand(len(seen)).concatenate(prompt)
    negative, positive = model.predict(torch.cat([seen, seen]), time, both).float().chunk(2)
    return guide(negative, positive, model.working.guidance)
