"""The diffusion loss: the scheduler's own target, min-SNR weights by time step, and a mask over the picture."""

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from shared.models.conditioning import Conditioning, predict_noise

LEAST = 0.1  # v-prediction's weight goes to 0 with the SNR, and the first step from pure noise would never learn


class DiffusionLoss:
    """Mean squared error of the UNet's prediction, weighted by min-SNR (Hang et al. 2023); in float32.

    In terms of the clean picture every time step weighs min(SNR, gamma). A squared error of the prediction is another
    one of the clean picture: SNR times epsilon's, SNR + 1 times v's. Hence, with the limits at SNR 0,

        sample       min(SNR, gamma)
        epsilon      min(SNR, gamma) / SNR            1 at zero terminal SNR, where the quotient has no value
        v_prediction min(SNR, gamma) / (SNR + 1)      0 there, raised to LEAST

    Attributes:
        dtype: that the UNet computes in; float32, or the half precision that its weights have.
        steps: of the schedule.
        weights: by time step.
    """

    def __init__(
        self, scheduler: DDIMScheduler, gamma: float, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        # a scheduler of its own: add_noise moves its tables to the device of what it is given
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
        """The loss of one batch, a scalar on the device.

        Args:
            latents, noise: (B, C, h, w), float32.
            times: (B,), whole numbers below `steps`.
            words: of one picture, the same for all.
            masks: (B, 1, h, w); the loss is the mean over what they weigh.
        """
        noisy = self._scheduler.add_noise(latents, noise, times)
        # on a card the base is in half precision and the adapter is not. In the base's own: any other would be cast to
        # in every pass, and the copies of the frozen weights kept until its end, 1.6 GB on SD 1.5
        half = self.dtype != torch.float32
        with torch.autocast(latents.device.type, self.dtype if half else None, enabled=half):
            made = predict_noise(unet, noisy, times, words.expand(len(latents))).float()
        errors = (made - self._target(latents, noise, times)).square().mean(dim=1, keepdim=True)
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
    """Min-SNR weight of every time step, float32, (T,); ValueError for a prediction type that nobody trains."""
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
    raise ValueError(f"the base model's scheduler predicts {prediction}; known are epsilon, v_prediction and sample")
