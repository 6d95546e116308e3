"""The loss on photos that no update sees, with the same noise at every checkpoint: where it rises, training is over."""

import torch

from functions.train.latents import LatentCache
from functions.train.loss import DiffusionLoss
from shared.models.conditioning import Conditioning
from shared.models.diffusion import DiffusionModel

LEVELS = 8  # noise levels, evenly over all time steps; a checkpoint's probe costs about two updates
SEED = 4321


class HeldOutLoss:
    """The diffusion loss of some crops as a function of the adapter alone."""

    def __init__(self, model: DiffusionModel, cache: LatentCache, words: Conditioning, loss: DiffusionLoss) -> None:
        self._model, self._cache, self._words, self._loss = model, cache, words, loss
        latents = cache.latents.mean
        generator = torch.Generator(latents.device).manual_seed(SEED)
        self._noise = torch.randn((LEVELS, *latents.shape), generator=generator, device=latents.device)
        self._times = [int((level + 0.5) / LEVELS * loss.steps) for level in range(LEVELS)]

    @torch.no_grad()
    def __call__(self) -> float:
        """The mean over crops and noise levels."""
        latents, masks = self._cache.latents.mean, self._cache.masks
        losses = []
        for time, noise in zip(self._times, self._noise, strict=True):
            times = torch.full((len(latents),), time, device=latents.device)
            losses.append(self._loss(self._model.unet, latents, noise, times, self._words, masks))
        return float(torch.stack(losses).mean())
