"""The diffusion loss: the scheduler's prediction target, min-SNR weights by time step, and a mask over the picture."""

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from shared.models.conditioning import Conditioning, predict_noise

LEAST = 0.1  # the weight of v-prediction goes to 0 with the SNR, so the first step from pure noise would learn nothing


class DiffusionLoss:
    """Mean squared error of the UNet's prediction, weighted by min-SNR (Hang et al. 2023); in float32.

    Measured on the clean picture, the error at a time step has the weight min(SNR, gamma). The squared error of an
    epsilon prediction is SNR times that of the clean picture, the squared error of a v prediction SNR + 1 times.
    Hence the weights of the prediction's error are

        sample       min(SNR, gamma)
        epsilon      min(SNR, gamma) / SNR            at SNR 0 its limit, 1
        v_prediction min(SNR, gamma) / (SNR + 1)      raised to LEAST where the SNR is below 1

    Attributes:
        dtype: what the UNet computes in: float32, or the half precision of its weights.
        steps: number of time steps of the schedule.
        weights: weight of each time step, float32, (steps,).
    """

    def __init__(
        self, scheduler: DDIMScheduler, gamma: float, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        # a separate scheduler: add_noise moves the tables of the one it is called on to the device of its arguments
        self._scheduler = DDIMScheduler.from_config(scheduler.config)
        self._kind = str(scheduler.config.prediction_type)
        self.dtype = dtype
        self.steps = int(scheduler.config.num_train_timesteps)
        self.weights = weights(self._scheduler.alphas_cumprod, gamma, self._kind).to(device)

    def __call__(
        self,
        unet: UNet2DConditionModel,
        latents: torch.Tensor,
        noise: torch.Tensor,
        times: torch.Tensor,
        words: Conditioning,
        masks: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of one batch, a scalar on the device.

        Args:
            unet: predicts the noise, with its adapter.
            latents, noise: float32, (B, C, h, w).
            times: integers below `steps`, (B,).
            words: the prompt's conditioning for one picture, used for every picture of the batch.
            masks: weights of the pixels, (B, 1, h, w); each picture's loss is the mean weighted by its mask.
        """
        noisy = self._scheduler.add_noise(latents, noise, times)
        # on a GPU the base model is in half precision and the adapter in float32. autocast uses the base model's type:
        # with another one it would cast the frozen weights in every pass, and keep 1.6 GB of copies on SD 1.5
        half = self.dtype != torch.float32
        with torch.autocast(latents.device.type, self.dtype if half else None, enabled=half):
            predicted = predict_noise(unet, noisy, times, words.expand(len(latents))).float()
        errors = (predicted - self._target(latents, noise, times)).square().mean(dim=1, keepdim=True)
        by_picture = (errors * masks).sum(dim=(1, 2, 3)) / masks.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        mean: torch.Tensor = (by_picture * self.weights[times]).mean()
        return mean

    def _target(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        if self._kind == "epsilon":
            return noise
        if self._kind == "sample":
            return latents
        velocity: torch.Tensor = self._scheduler.get_velocity(latents, noise, times)
        return velocity


def weights(alphas_cumprod: torch.Tensor, gamma: float, prediction: str) -> torch.Tensor:
    """Return the min-SNR weight of every time step, float32, (T,).

    Args:
        alphas_cumprod: share of signal variance at every time step, (T,).
        gamma: SNR above which the weight of the clean picture's error stays the same.
        prediction: `epsilon`, `v_prediction` or `sample`; ValueError for any other type.
    """
    signal = alphas_cumprod.double()
    snr = signal / (1 - signal)
    capped = snr.clamp(max=gamma)
    if prediction == "sample":
        return capped.float()
    if prediction == "epsilon":
        return torch.where(snr > 0, capped / snr.clamp(min=1e-12), torch.ones_like(snr)).float()
    if prediction == "v_prediction":
        velocity = capped / (snr + 1)
        return torch.where(snr < 1, velocity.clamp(min=LEAST), velocity).float()
    raise ValueError(
        f"the base model's scheduler predicts {prediction}; supported are epsilon, v_prediction and sample"
    )
