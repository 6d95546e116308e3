"""Adds noise to latents in float32, with the scheduler's tables on the CPU, so that reading them waits for no GPU."""

from typing import Protocol

import torch


class Noising(Protocol):
    """The part of a diffusers scheduler that is used here."""

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, /
    ) -> torch.Tensor:
        """Return the samples with the noise of these time steps."""


def add_noise(scheduler: Noising, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """Add as much noise to latents as they have at a time step; bit for bit what the scheduler's `add_noise` returns.

    `add_noise` itself moves the scheduler's table to the device and type of the latents. From then on each look into
    the table waits for the GPU, and in bfloat16 the first time steps have no noise at all. But every scheduler adds
    noise as `a * latents + b * noise`, so `add_noise` is called on the CPU for the two factors only.

    Args:
        scheduler: gives the factors.
        latents, noise: float32, (B, C, h, w), on any device.
        time: the time step, (1,), on the CPU.
    """
    one, none = torch.ones(1), torch.zeros(1)
    signal, share = scheduler.add_noise(one, none, time)[0], scheduler.add_noise(none, one, time)[0]
    return signal * latents + share * noise
