"""The loss on the held-out photos, with the same noise at every checkpoint; once it rises, the adapter overfits."""

import torch

from functions.train.latents import LatentCache
from functions.train.loss import DiffusionLoss
from shared.models.conditioning import Conditioning
from shared.models.diffusion import DiffusionModel

LEVELS = 8  # noise levels, spread evenly over all time steps; one measurement costs about as much as two updates
SEED = 4321


class HeldOutLoss:
    """The diffusion loss on a fixed set of crops, time steps and noise, so that only the adapter changes it."""

    def __init__(self, model: DiffusionModel, cache: LatentCache, words: Conditioning, loss: DiffusionLoss) -> None:
        self._model, self._cache, self._words, self._loss = model, cache, words, loss
        latents = cache.latents.mean
        generator = torch.Generator(latents.device).manual_seed(SEED)
        self._noise = torch.randn((LEVELS, *latents.shape), generator=generator, device=latents.device)
        self._times = [int((level + 0.5) / LEVELS * loss.steps) for level in range(LEVELS)]

    @torch.no_grad()
    def __call__(self) -> float:
        """Return the mean loss over all crops and noise levels with the adapter's current weights."""
        latents, masks = self._cache.latents.mean, self._cache.masks
        losses = []
        for time, noise in zip(self._times, self._noise, strict=True):
            times = torch.full((len(latents),), time, device=latents.device)
            losses.append(self._loss(self._model.unet, latents, noise, times, self._words, masks))
        return float(torch.stack(losses).mean())
