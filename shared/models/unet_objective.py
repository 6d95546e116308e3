"""What a UNet learns: its scheduler's prediction target, with min-SNR weights by time step."""

import torch
from diffusers import DDIMScheduler, SchedulerMixin

from shared.models.base_model import TrainingObjective

LEAST = 0.1  # the weight of v-prediction goes to 0 with the SNR, so the first step from pure noise would learn nothing


class UNetObjective(TrainingObjective):
    """The target of a UNet's scheduler, weighted by min-SNR (Hang et al. 2023); time steps are uniform.

    Measured on the clean picture, the error at a time step has the weight min(SNR, gamma). The squared error of an
    epsilon prediction is SNR times that of the clean picture, the squared error of a v prediction SNR + 1 times.
    Hence the weights of the prediction's error are

        sample       min(SNR, gamma)
        epsilon      min(SNR, gamma) / SNR            at SNR 0 its limit, 1
        v_prediction min(SNR, gamma) / (SNR + 1)      raised to LEAST where the SNR is below 1

    Attributes:
        steps: number of time steps of the schedule.
        weights: weight of each time step, float32, (steps,).
    """

    def __init__(self, scheduler: SchedulerMixin, gamma: float, device: torch.device) -> None:
        # a separate scheduler: add_noise moves the tables of the one it is called on to the device of its arguments
        self._scheduler = DDIMScheduler.from_config(scheduler.config)
        self._kind = str(scheduler.config.prediction_type)
        self.steps = int(scheduler.config.num_train_timesteps)
        self.weights = weights(self._scheduler.alphas_cumprod, gamma, self._kind).to(device)

    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Return integer time steps below `steps`, (B,), by their shares of the schedule in [0, 1)."""
        return (shares * self.steps).long().clamp(max=self.steps - 1)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Add the noise of time steps, (B,), to latents."""
        noisy: torch.Tensor = self._scheduler.add_noise(latents, noise, times)
        return noisy

    def target(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Return the noise, the latents or the velocity, as the scheduler says."""
        if self._kind == "epsilon":
            return noise
        if self._kind == "sample":
            return latents
        velocity: torch.Tensor = self._scheduler.get_velocity(latents, noise, times)
        return velocity

    def weights_at(self, times: torch.Tensor) -> torch.Tensor:
        """Return the weights at time steps, (B,)."""
        return self.weights[times]


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
