"""The UNet family: portrait-tiny, Stable Diffusion 1.5 and XL."""

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from shared.models import latent_codec, lora_names
from shared.models import noise as noising
from shared.models.base_model import Conditioning, DiffusionModel, Schedule
from shared.models.conditioning import TextEncoder, TextStates, encode_prompt, predict_noise
from shared.models.cross_attention_cache import cache_cross_attention
from shared.models.profile import ModelProfile
from shared.models.residuals import Residuals
from shared.models.unet_footprint import UNetFootprint
from shared.models.unet_objective import UNetObjective

Scheduler: TypeAlias = DDIMScheduler | LCMScheduler | TCDScheduler | EulerDiscreteScheduler


class UNetSchedule(Schedule):
    """The last steps of one of diffusers' schedules.

    Args:
        scheduler: the scheduler, whose own state stays as it is.
        steps: steps of the whole schedule.
        last: number of them to make.
    """

    def __init__(self, scheduler: Scheduler, steps: int, last: int) -> None:
        # a copy, because diffusers' schedulers hold the state of a run
        self._scheduler = copy.deepcopy(scheduler)
        self._scheduler.set_timesteps(steps, device="cpu")
        self.times = self._scheduler.timesteps[len(self._scheduler.timesteps) - last :]

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Add as much noise to latents as they have before a step."""
        if step == len(self):
            return latents
        return noising.add_noise(self._scheduler, latents, noise, self.times[step : step + 1])

    def scale_input(self, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Return noisy latents as the network takes them at a step."""
        scaled: torch.Tensor = self._scheduler.scale_model_input(latents, self.times[step])
        return scaled

    def noise_over_signal(self, step: int) -> float:
        """Return the ratio of noise to signal before a step."""
        signal = float(self._scheduler.alphas_cumprod[int(self.times[step])])
        return math.sqrt((1 - signal) / signal) if signal > 0 else math.inf

    def step(
        self,
        predicted: torch.Tensor,
        latents: torch.Tensor,
        step: int,
        generators: list[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """Take one step of denoising."""
        made = self._scheduler.step(predicted, self.times[step], latents, generator=generators)
        after: torch.Tensor = made.prev_sample
        return after


@dataclass(frozen=True)
class UNetModel(DiffusionModel):
    """A base model of Stable Diffusion's form: the parts of a pipeline.

    Attributes:
        second: SDXL's second text encoder; None for SD 1.5.
        architecture: `sd15` or `sdxl`; portrait-tiny has the form of `sd15`.
    """

    name: str
    working: ModelProfile
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: Scheduler
    device: torch.device
    dtype: torch.dtype
    second: TextEncoder | None = None
    architecture: str = "sd15"

    lora_prefix = lora_names.UNET

    @property
    def denoiser(self) -> UNet2DConditionModel:
        """The network that predicts, and that LoRAs adapt."""
        return self.unet

    @property
    def autoencoder(self) -> AutoencoderKL | AutoencoderTiny:
        """The network that makes latents of pictures."""
        return self.vae

    @property
    def first(self) -> TextEncoder:
        """The text encoder that both architectures have."""
        return TextEncoder(self.text_encoder, self.tokenizer)

    @property
    def encoders(self) -> list[CLIPTextModel | CLIPTextModelWithProjection]:
        """All text encoders of the model."""
        return [self.text_encoder, *([self.second.encoder] if self.second else [])]

    def condition(self, words: str) -> TextStates:
        """Encode a prompt for one uncropped picture of the model's working size."""
        encoders = [self.first, *([self.second] if self.second else [])]
        return encode_prompt(encoders, words, self.working.size, self.device, self.dtype)

    def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode pictures, (B, 3, H, W) in [-1, 1]; see `latent_codec.encode`."""
        return latent_codec.encode(self.vae, pixels)

    def decode(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode latents, (B, C, h, w); see `latent_codec.decode`."""
        return latent_codec.decode(self.vae, latents)

    def schedule(self, steps: int, last: int) -> UNetSchedule:
        """Return the `last` steps of a schedule of `steps`."""
        return UNetSchedule(self.scheduler, steps, last)

    def predict(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """Return the UNet's prediction for noisy latents (B, C, h, w); of the same shape."""
        return predict_noise(self.unet, latents, times, cast(TextStates, conditioning), residuals)

    def reusing(self) -> AbstractContextManager[None]:
        """Return a block within which the keys and values of each prompt are computed once."""
        return cache_cross_attention(self.unet)

    def objective(self, gamma: float) -> UNetObjective:
        """Return the scheduler's prediction target with min-SNR weights."""
        return UNetObjective(self.scheduler, gamma, self.device)

    def name_lora(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Name an adapter's tensors as diffusers' pipelines save them."""
        return lora_names.name_for_unet(state)

    def rename_lora(self, weights: Mapping[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
        """Rename a LoRA's tensors to kohya's names."""
        return lora_names.rename_for_kohya(weights, alpha)

    def footprint(self) -> UNetFootprint:
        """Return what plans the memory that the model takes."""
        return UNetFootprint(self.unet, self.vae, self.encoders, self.working.size, self.dtype, self.vae.dtype)
