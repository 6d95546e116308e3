"""The loop: one optimiser update after the other on cached latents, with nothing in it that waits for the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from functions.train.lora import Adapter
from functions.train.material import Material
from functions.train.plan import TrainingPlan


@dataclass(frozen=True, eq=False)
class Update:
    """One update that has been made.

    Attributes:
        step: from 1.
        loss: a scalar on the device; reading it waits for the device.
    """

    step: int
    loss: torch.Tensor


def updates(
    unet: UNet2DConditionModel, adapter: Adapter, material: Material, plan: TrainingPlan, steps: int
) -> Iterator[Update]:
    """Train the adapter; stop whenever the caller stops asking.

    Batches go through all crops before any comes again. Time steps are spread evenly over each batch, which takes out
    most of the loss's noise (Kingma et al., "Variational Diffusion Models", 2021, appendix I.1).
    """
    device = material.cache.latents.mean.device
    generator = torch.Generator(device).manual_seed(plan.seed)
    optimiser = torch.optim.AdamW(adapter.parameters, lr=plan.learning_rate, weight_decay=1e-2, fused=True)
    batches = order(len(material.cache), plan.batch, steps, plan.seed).to(device)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * pace(step, steps, plan)
        value = _loss(unet, material, batches[step], generator)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(adapter.parameters, plan.clip)
        optimiser.step()
        yield Update(step + 1, value.detach())


def order(rows: int, batch: int, steps: int, seed: int) -> torch.Tensor:
    """Which rows each step sees, (steps, batch): permutations of all rows, one after the other."""
    generator = torch.Generator().manual_seed(seed)
    rounds = math.ceil(steps * batch / rows)
    walk = torch.cat([torch.randperm(rows, generator=generator) for _ in range(rounds)])
    return walk[: steps * batch].reshape(steps, batch)


def spread(batch: int, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Time steps of a batch, (batch,): one from each of `batch` equal parts of 0 .. steps - 1, in any order."""
    device = generator.device
    offsets = torch.rand(batch, generator=generator, device=device)
    parts = torch.randperm(batch, generator=generator, device=device)
    return ((parts + offsets) / batch * steps).long().clamp(max=steps - 1)


def pace(step: int, steps: int, plan: TrainingPlan) -> float:
    """Factor of the learning rate at a step from 0: a linear rise, then half a cosine down to `final_rate`."""
    rise = min(1.0, (step + 1) / (plan.warm_up + 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    return rise * (plan.final_rate + (1 - plan.final_rate) * fall)


def _loss(
    unet: UNet2DConditionModel, material: Material, rows: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    device = rows.device
    latents = material.cache.latents.rows(rows).sample(generator)
    noise = torch.randn(latents.shape, generator=generator, device=device)
    times = spread(len(rows), material.loss.steps, generator)
    # the base is in half precision on CUDA and the adapter is not; bfloat16 needs no loss scaling
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return material.loss(unet, latents, noise, times, material.states, material.cache.masks[rows])
