"""Z-Image: one stream of picture and words; each picture is a tensor of its own, and so are its words."""

from dataclasses import dataclass
from typing import Self, cast

import torch
from diffusers.pipelines.z_image.pipeline_z_image import calculate_shift

from shared.models import latent_codec
from shared.models.base_model import Conditioning
from shared.models.rectified_flow import FlowModel
from shared.models.residuals import Residuals


@dataclass(frozen=True, eq=False)
class CaptionStates(Conditioning):
    """Prompts, encoded for Z-Image.

    Attributes:
        states: the words' states of each picture, (length, width); prompts differ in length.
    """

    states: tuple[torch.Tensor, ...]

    def expand(self, count: int) -> Self:
        """Repeat this conditioning, which must be of one picture, for each of `count` pictures."""
        return type(self)(self.states * count)

    def concatenate(self, other: Self) -> Self:
        """Return one batch of this conditioning and, after it, the other one."""
        return type(self)(self.states + other.states)


@dataclass(frozen=True)
class ZImageModel(FlowModel):
    """Z-Image, of diffusers' `ZImagePipeline`.

    Its transformer is given a time that rises from noise to picture, and predicts the flow that way round. All tokens
    of a batch go through its embedders as one sequence.
    """

    unadaptable = ("all_x_embedder.", "cap_embedder.")

    @torch.no_grad()
    def condition(self, words: str) -> CaptionStates:
        """Encode a prompt by the last but one layer of the language model."""
        with self.encoding() as pipeline:
            states, _ = pipeline.encode_prompt(words, device=self.device, do_classifier_free_guidance=False)
        return CaptionStates(tuple(one.to(self.dtype) for one in states))

    def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode pictures to the most likely latents, as the training script does."""
        return latent_codec.encode(self.autoencoder, pixels)[0], None

    def decode(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode latents, (B, C, h, w); see `latent_codec.decode`."""
        return latent_codec.decode(self.autoencoder, latents)

    def shift(self, steps: int) -> float:
        """Return diffusers' `mu`, linear in the number of tokens."""
        known = self.scheduler.config
        sides = known.base_image_seq_len, known.max_image_seq_len
        mu: float = calculate_shift(self.tokens, *sides, known.base_shift, known.max_shift)
        return mu

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents of one picture."""
        side = 2 * self.working.size // self.patch
        return self.denoiser.config.in_channels, side, side

    def blank(self, count: int, length: int) -> CaptionStates:
        """Return a conditioning of zeros, to plan memory with."""
        return CaptionStates((torch.zeros(length, self.denoiser.config.cap_feat_dim, dtype=self.dtype),) * count)

    def predict(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """Return the flow to the noise for noisy latents (B, C, h, w); of the same shape."""
        states = cast(CaptionStates, conditioning).states
        clean = ((1000 - times) / 1000).expand(len(latents))
        flows = self.denoiser(list(latents.unsqueeze(2).unbind()), clean, list(states), return_dict=False)[0]
        return -torch.stack(flows).squeeze(2)
