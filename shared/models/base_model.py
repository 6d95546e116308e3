"""The interface of a base model: what `train` and `generate` need of it, whatever family it is of.

| what is needed | by which method or attribute |
|---|---|
| pictures to latents and back, with the latents' packing, normalization and shift | `encode`, `decode` |
| words, encoded once | `condition`, a `Conditioning` |
| noise to a strength, and a step of denoising | `schedule`, a `Schedule` |
| the network's prediction | `predict`, inside of `reusing` |
| what the network learns: time steps, target, weights | `objective`, a `TrainingObjective` |
| the modules that a LoRA adapts, and their names in files | `denoiser`, `name_lora`, `rename_lora` |
| the memory that it takes | `footprint`, a `Footprint` |

Latents are what the denoiser sees as a picture, float32, (B, C, h, w), however a family packs them for its network.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

import torch
from diffusers import ModelMixin

from shared.models.profile import ModelProfile
from shared.models.quantization import Quantization
from shared.models.residuals import Residuals
from shared.models.step_count import StepCount

if TYPE_CHECKING:
    from shared.models.planned_peak import Footprint


class Conditioning(ABC):
    """Prompts, encoded for a denoiser, one for each picture of a batch."""

    @abstractmethod
    def expand(self, count: int) -> Self:
        """Repeat this conditioning, which must be of one picture, for each of `count` pictures."""

    @abstractmethod
    def concatenate(self, other: Self) -> Self:
        """Return one batch of this conditioning and, after it, the other one."""


class Schedule(ABC):
    """The noise levels of one diffusion, from the one that it starts at down to none.

    It holds the state of a run: each run takes a new one. Steps are counted from 0, and made in their order.

    Attributes:
        times: what `DiffusionModel.predict` takes at each step, (steps,), on the CPU: on a GPU, each decision that
            depends on a time would wait for it.
    """

    times: torch.Tensor

    def __len__(self) -> int:
        return len(self.times)

    @abstractmethod
    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Add as much noise to latents as they have before a step; none after the last one.

        Args:
            latents, noise: float32, (B, C, h, w), on any device.
            step: 0 to `len(self)`.
        """

    @abstractmethod
    def scale_input(self, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Return noisy latents as the network takes them at a step."""

    @abstractmethod
    def noise_over_signal(self, step: int) -> float:
        """Return the ratio of noise to signal before a step; infinite for pure noise."""

    @abstractmethod
    def step(
        self,
        predicted: torch.Tensor,
        latents: torch.Tensor,
        step: int,
        generators: list[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """Take one step of denoising.

        Args:
            predicted: the network's prediction, float32, (B, C, h, w).
            latents: the latents before the step, of the same shape.
            step: the step, one after the last call's.
            generators: one per picture, for samplers that add noise; None draws from torch's own.
        """


class TrainingObjective(ABC):
    """What a denoiser learns: at which time steps, to predict what, with which weights."""

    @abstractmethod
    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Return time steps, (B,): the quantiles at `shares`, in [0, 1), of the time steps' distribution."""

    @abstractmethod
    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Add the noise of time steps, (B,), to latents; all float32, (B, C, h, w)."""

    @abstractmethod
    def target(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Return what the network should predict for these noised latents; of the same shape."""

    @abstractmethod
    def weights_at(self, times: torch.Tensor) -> torch.Tensor:
        """Return the weights of the prediction's squared error at time steps, float32, (B,)."""


class DiffusionModel(ABC):
    """A base model, loaded once per process: its parts are in evaluation mode, without gradients, on one device.

    Attributes:
        name: what answers and adapters call the model.
        architecture: a key of `shared.models.architectures.ARCHITECTURES`.
        working: its working size, framing, guidance and prompts.
        device: where it computes.
        dtype: precision of the denoiser; an autoencoder that overflows in half precision stays in float32.
        lora_prefix: what the denoiser's modules are preceded by in LoRA files of diffusers, without a dot.
        unadaptable: beginnings of names of the denoiser's modules that see a batch's pictures as one, so that no
            picture can have a LoRA of its own there.
        quantization: of the denoiser's weights; None for weights in `dtype`.
        looks_at_pictures: whether the network is made to look at pictures beside the noisy one, see `referring`.
        rounds_steps_up: whether the family's pipelines round steps x strength up, see `StepCount`.
    """

    name: str
    architecture: str
    working: ModelProfile
    device: torch.device
    dtype: torch.dtype
    lora_prefix: str
    unadaptable: tuple[str, ...] = ()
    quantization: Quantization | None = None
    looks_at_pictures = False
    rounds_steps_up = False

    @property
    @abstractmethod
    def denoiser(self) -> ModelMixin:
        """The network that predicts, and that LoRAs adapt."""

    @property
    @abstractmethod
    def autoencoder(self) -> ModelMixin:
        """The network that makes latents of pictures."""

    @property
    @abstractmethod
    def encoders(self) -> Sequence[torch.nn.Module]:
        """All text encoders of the model."""

    @abstractmethod
    def condition(self, words: str) -> Conditioning:
        """Encode a prompt for one uncropped picture of the model's working size."""

    @abstractmethod
    def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode pictures, (B, 3, H, W) in [-1, 1].

        Returns:
            Mean and standard deviation of the latents, float32, (B, C, h, w); the deviation is None for an autoencoder
            that gives one latent for a picture.
        """

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode latents, (B, C, h, w).

        Returns:
            Pixels of the autoencoder's type, (B, 3, H, W), about [-1, 1] but not limited to it; and (B,) which of them
            are finite throughout, the latents as well: a norm in the decoder may hide what is not.
        """

    def referring(self, conditioning: Conditioning, latents: torch.Tensor) -> Conditioning:
        """Let each picture of the conditioning refer to one more picture, of latents (B, C, h, w).

        The first is the picture that is repainted; the person's photo may follow, see `refers_to_person`. Families
        whose network does not look at pictures return the conditioning as it is.
        """
        return conditioning

    @property
    def refers_to_person(self) -> bool:
        """Whether the network looks at the person's photo: what the model's profile asks for, if the family can."""
        return self.looks_at_pictures and self.working.reference

    @property
    def step_count(self) -> StepCount:
        """How many steps of a schedule a denoising strength takes."""
        return StepCount(self.working.most_steps, self.rounds_steps_up)

    @abstractmethod
    def schedule(self, steps: int, last: int) -> Schedule:
        """Return the `last` steps of a schedule of `steps` for pictures of the working size."""

    @abstractmethod
    def predict(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """Return the network's prediction for noisy latents (B, C, h, w); of the same shape.

        Args:
            latents: as `Schedule.scale_input` returns them.
            times: time steps on the model's device, one for all pictures, or (B,).
            conditioning: of B pictures.
            residuals: ControlNets' residuals; only for families that `controls.load_controls` accepts.
        """

    def reusing(self) -> AbstractContextManager[None]:
        """Return a block within which `predict` may reuse what depends on the conditioning and not on the step.

        The active LoRAs, and which picture of the batch has which, must not change inside the block.
        """
        return nullcontext()

    @abstractmethod
    def objective(self, gamma: float) -> TrainingObjective:
        """Return what the denoiser learns; `gamma` limits the weights of families that weigh by signal over noise."""

    @abstractmethod
    def name_lora(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Name an adapter's tensors, which have peft's names, as diffusers' pipelines save them, in the same order."""

    @abstractmethod
    def rename_lora(self, weights: Mapping[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
        """Rename a LoRA's tensors from diffusers' names to those that ComfyUI and its like read; adds each alpha."""

    @abstractmethod
    def footprint(self) -> "Footprint":
        """Return what plans the memory that the model takes."""
