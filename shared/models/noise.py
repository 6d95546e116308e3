"""Noise added to latents in float32, with the scheduler's tables on the CPU, where asking them waits for no card."""

from typing import Protocol

import torch


class Noising(Protocol):
    """What is asked of a diffusers scheduler."""

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, /
    ) -> torch.Tensor:
        """Samples of that much noise."""


def noised(scheduler: Noising, latents: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """Latents as noisy as they are at a time; the same bits as the scheduler's own `add_noise`.

    That one takes its table to the latents' device and type: from then on each look into it waits for the card, and in
    bfloat16 the first time steps have no noise at all. All schedulers add noise as `a * latents + b * noise`: they are
    asked for the two factors.

    Args:
        latents, noise: (B, C, h, w), float32, on any device.
        time: (1,), on the CPU.
    """
    one, none = torch.ones(1), torch.zeros(1)
    signal, share = scheduler.add_noise(one, none, time)[0], scheduler.add_noise(none, one, time)[0]
    return signal * latents + share * noise
