"""The family of rectified flow: latents x and noise mix to (1 - σ) x + σ noise, and a transformer predicts noise - x.

| | UNet | rectified flow |
|---|---|---|
| noise level | time step of 1000 | σ from 1 to 0; times are 1000 σ, and need not be whole |
| target | noise or velocity, weighted by min-SNR | noise - x, not weighted |
| schedule | the scheduler's | σ from 1 to 1 / steps, shifted as scheduler and picture size say |
| words | encoders stay where they are | encoders are large: on the GPU only while they encode |

Source: Liu et al., "Flow straight and fast" (2022); Esser et al., "Scaling rectified flow transformers" (2024).
"""

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, ModelMixin

from shared.models import lora_names
from shared.models.base_model import Conditioning, DiffusionModel, Schedule, TrainingObjective
from shared.models.planned_peak import list_widths
from shared.models.profile import ModelProfile
from shared.models.quantization import Quantization
from shared.models.residency import present
from shared.models.transformer_footprint import TransformerFootprint

WORDS = 512  # longest prompt in tokens of the language model, as in diffusers' pipelines


class FlowSchedule(Schedule):
    """The last steps of a schedule whose σ fall evenly from 1, before the scheduler shifts them.

    Args:
        scheduler: the scheduler, whose own state stays as it is.
        shift: by how much a scheduler with dynamic shifting shifts: diffusers' `mu`.
        steps: steps of the whole schedule.
        last: number of them to make.
    """

    def __init__(self, scheduler: FlowMatchEulerDiscreteScheduler, shift: float, steps: int, last: int) -> None:
        # a copy, because diffusers' schedulers hold the state of a run
        self._scheduler = copy.deepcopy(scheduler)
        self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), mu=shift, device="cpu")
        first = steps - last
        self._scheduler.set_begin_index(first)
        self.times = self._scheduler.timesteps[first:]
        self._sigmas = self._scheduler.sigmas[first:]

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Mix as much noise into latents as they have before a step."""
        if step == len(self):
            return latents
        sigma = self._sigmas[step]
        mixed: torch.Tensor = sigma * noise + (1 - sigma) * latents
        return mixed

    def scale_input(self, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Return the latents as they are."""
        return latents

    def noise_over_signal(self, step: int) -> float:
        """Return σ / (1 - σ)."""
        sigma = float(self._sigmas[step])
        return sigma / (1 - sigma) if sigma < 1 else math.inf

    def step(
        self,
        predicted: torch.Tensor,
        latents: torch.Tensor,
        step: int,
        generators: list[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """Take one step of Euler's method."""
        made = self._scheduler.step(predicted, self.times[step], latents, generator=generators)
        after: torch.Tensor = made.prev_sample
        return after


class FlowObjective(TrainingObjective):
    """Predict noise - x at times that are uniform over the scheduler's table; all errors weigh the same.

    So do diffusers' training scripts with their default weighting, `none`.
    """

    def __init__(self, scheduler: FlowMatchEulerDiscreteScheduler, device: torch.device) -> None:
        table = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        self._steps = int(table.config.num_train_timesteps)
        self._times = table.timesteps.to(device)

    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Return times, float32, (B,), by their shares of the table in [0, 1)."""
        times: torch.Tensor = self._times[(shares * self._steps).long().clamp(max=self._steps - 1)]
        return times

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Mix the noise of times, (B,), into latents."""
        sigmas = (times / self._steps)[:, None, None, None]
        return (1 - sigmas) * latents + sigmas * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Return the flow from the picture to the noise."""
        return noise - latents

    def weights_at(self, times: torch.Tensor) -> torch.Tensor:
        """Return ones."""
        return torch.ones_like(times)


@dataclass(frozen=True)
class FlowModel(DiffusionModel):
    """A base model of rectified flow: the parts of a pipeline.

    Attributes:
        pipeline: diffusers' pipeline, of which only `encode_prompt` is used.
        scheduler: the pipeline's.
        quantization: of the transformer's weights.
    """

    name: str
    architecture: str
    working: ModelProfile
    pipeline: DiffusionPipeline
    scheduler: FlowMatchEulerDiscreteScheduler
    device: torch.device
    dtype: torch.dtype
    quantization: Quantization | None = None

    lora_prefix = lora_names.TRANSFORMER
    rounds_steps_up = True

    @property
    def denoiser(self) -> ModelMixin:
        """The network that predicts, and that LoRAs adapt."""
        return self.pipeline.transformer

    @property
    def autoencoder(self) -> ModelMixin:
        """The network that makes latents of pictures."""
        return self.pipeline.vae

    @property
    def encoders(self) -> list[torch.nn.Module]:
        """The language model whose states condition the transformer."""
        return [self.pipeline.text_encoder]

    @property
    def patch(self) -> int:
        """Pixels to a side of one token of the transformer, which takes 2 x 2 pixels of the autoencoder's latents."""
        return int(2 ** len(list_widths(self.autoencoder)))

    @property
    def pictures(self) -> int:
        """Number of pictures that the transformer sees of each face: the noisy one, and those that it refers to."""
        return 1

    @property
    def tokens(self) -> int:
        """Number of the transformer's tokens of one picture."""
        return int(self.working.size // self.patch) ** 2

    @abstractmethod
    def shift(self, steps: int) -> float:
        """Return diffusers' `mu` for a schedule of so many steps."""

    @abstractmethod
    def blank(self, count: int, length: int) -> Conditioning:
        """Return a conditioning of `count` pictures by prompts of `length` words, all zeros, to plan memory with."""

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents of one picture."""

    def schedule(self, steps: int, last: int) -> FlowSchedule:
        """Return the `last` steps of a schedule of `steps` for pictures of the working size."""
        return FlowSchedule(self.scheduler, self.shift(steps), steps, last)

    def objective(self, gamma: float) -> FlowObjective:
        """Return the flow as the target; nothing is weighed by signal over noise."""
        return FlowObjective(self.scheduler, self.device)

    def name_lora(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Name an adapter's tensors as diffusers' pipelines save them."""
        return lora_names.name_for_transformer(state)

    def rename_lora(self, weights: Mapping[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
        """Rename a LoRA's tensors to ComfyUI's names."""
        return lora_names.rename_for_comfy(weights, alpha)

    def footprint(self) -> TransformerFootprint:
        """Return what plans the memory that the model takes."""
        return TransformerFootprint(
            self.denoiser,
            self.autoencoder,
            self.encoders,
            self.working.size,
            self.dtype,
            WORDS + self.tokens * self.pictures,
            self._pass,
            self.quantization,
        )

    def _pass(self, denoiser: ModelMixin, count: int) -> torch.Tensor:
        stand_in = SimpleNamespace(transformer=denoiser)
        model = replace(self, pipeline=stand_in)
        latents = torch.zeros(count, *self.latent_shape)
        return model.predict(latents, torch.ones(count), model.blank(count, WORDS))

    @contextmanager
    def encoding(self) -> Iterator[Any]:
        """Yield the pipeline with its language model on the device, unless the caller has it there already."""
        (encoder,) = self.encoders
        if next(encoder.parameters()).device.type == self.device.type:
            yield self.pipeline
            return
        with present(self.device, encoder):
            yield self.pipeline
