"""The diffusion loss: the base model's objective with a mask over the picture."""

import torch

from shared.models.base_model import Conditioning, DiffusionModel, TrainingObjective


class DiffusionLoss:
    """Mean squared error of the base model's prediction, weighted by time step and by pixel; in float32.

    Args:
        model: the base model; predicts, with the adapter on its denoiser.
        objective: what it should predict at which time steps.

    Attributes:
        dtype: what the denoiser computes in: float32, or the half precision of its weights.
    """

    def __init__(self, model: DiffusionModel, objective: TrainingObjective) -> None:
        self._model, self._objective, self.dtype = model, objective, model.dtype

    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Return time steps, (B,): the quantiles at `shares`, in [0, 1), of the objective's distribution."""
        return self._objective.times_at(shares)

    def __call__(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        times: torch.Tensor,
        words: Conditioning,
        masks: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of one batch, a scalar on the device.

        Args:
            latents, noise: float32, (B, C, h, w).
            times: time steps of the objective, (B,).
            words: the prompt's conditioning for one picture, used for every picture of the batch.
            masks: weights of the pixels, (B, 1, h, w); each picture's loss is the mean weighted by its mask.
        """
        noisy = self._objective.add_noise(latents, noise, times)
        # on a GPU the base model is in half precision and the adapter in float32. autocast uses the base model's type:
        # with another one it would cast the frozen weights in every pass, and keep 1.6 GB of copies on SD 1.5
        half = self.dtype != torch.float32
        with torch.autocast(latents.device.type, self.dtype if half else None, enabled=half):
            predicted = self._model.predict(noisy, times, words.expand(len(latents))).float()
        target = self._objective.target(latents, noise, times)
        errors = (predicted - target).square().mean(dim=1, keepdim=True)
        by_picture = (errors * masks).sum(dim=(1, 2, 3)) / masks.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        mean: torch.Tensor = (by_picture * self._objective.weights_at(times)).mean()
        return mean
