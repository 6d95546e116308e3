"""The loss on the held-out photos, with the same noise at every checkpoint; once it rises, the adapter overfits."""

import torch

from functions.train.latents import LatentCache
from functions.train.loss import DiffusionLoss
from shared.models.base_model import Conditioning

LEVELS = 8  # noise levels, spread evenly over all time steps; one measurement costs about as much as two updates
SEED = 4321


class HeldOutLoss:
    """The diffusion loss on a fixed set of crops, time steps and noise, so that only the adapter changes it."""

    def __init__(self, cache: LatentCache, words: Conditioning, loss: DiffusionLoss) -> None:
        self._cache, self._words, self._loss = cache, words, loss
        latents = cache.latents.mean
        generator = torch.Generator(latents.device).manual_seed(SEED)
        self._noise = torch.randn((LEVELS, *latents.shape), generator=generator, device=latents.device)
        shares = (torch.arange(LEVELS, device=latents.device) + 0.5) / LEVELS
        self._times = loss.times_at(shares)

    @torch.no_grad()
    def __call__(self) -> float:
        """Return the mean loss over all crops and noise levels with the adapter's current weights."""
        latents, masks = self._cache.latents.mean, self._cache.masks
        losses = []
        for time, noise in zip(self._times, self._noise, strict=True):
            losses.append(self._loss(latents, noise, time.expand(len(latents)), self._words, masks))
        return float(torch.stack(losses).mean())
