"""FLUX.2 klein: two streams that become one; latents in patches of 2 x 2, normalized by statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from shared.models import lora_names
from shared.models.base_model import Conditioning
from shared.models.rectified_flow import FlowModel
from shared.models.residuals import Residuals

PATCH = 2  # latent pixels to a side of one token
APART = 10  # steps on the axis of time between the picture and what it refers to, as in diffusers' pipelines


@dataclass(frozen=True, eq=False)
class KleinStates(Conditioning):
    """Prompts, encoded for FLUX.2 klein, with the pictures that each picture refers to.

    Attributes:
        states: text states, (B, length, width).
        references: packed latents of the pictures referred to, (B, R, h * w, C); None without any.
        sides: h and w of these latents.
    """

    states: torch.Tensor
    references: torch.Tensor | None = None
    sides: tuple[int, int] = (0, 0)

    def expand(self, count: int) -> Self:
        """Repeat this conditioning, which must be of one picture, for each of `count` pictures."""
        references = None if self.references is None else self.references.expand(count, -1, -1, -1)
        return replace(self, states=self.states.expand(count, -1, -1), references=references)

    def concatenate(self, other: Self) -> Self:
        """Return one batch of this conditioning and, after it, the other one."""
        references = None
        if self.references is not None and other.references is not None:
            references = torch.cat([self.references, other.references])
        return replace(self, states=torch.cat([self.states, other.states]), references=references)


@dataclass(frozen=True)
class Flux2KleinModel(FlowModel):
    """FLUX.2 klein, of diffusers' `Flux2KleinPipeline`."""

    looks_at_pictures = True

    @property
    def pictures(self) -> int:
        """Number of pictures that the transformer sees of each face: noisy, template and, if asked for, the photo."""
        return 3 if self.refers_to_person else 2

    @torch.no_grad()
    def condition(self, words: str) -> KleinStates:
        """Encode a prompt by three layers of the language model, side by side."""
        with self.encoding() as pipeline:
            states, _ = pipeline.encode_prompt(words, device=self.device)
        return KleinStates(states.to(self.dtype))

    def referring(self, conditioning: Conditioning, latents: torch.Tensor) -> KleinStates:
        """Let each picture of the conditioning refer to one more picture, of latents (B, C, h, w).

        So does diffusers' inpainting pipeline, with the picture that it repaints and with its `image_reference`.
        """
        known, packed = cast(KleinStates, conditioning), pack(latents)[:, None].to(self.dtype)
        together = packed if known.references is None else torch.cat([known.references, packed], dim=1)
        return replace(known, references=together, sides=(latents.shape[2], latents.shape[3]))

    def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode pictures to the most likely latents, as pipeline and training script do."""
        encoded = self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).latent_dist.mode()
        mean, deviation = self._statistics()
        return (pixel_unshuffle(encoded.float(), PATCH) - mean) / deviation, None

    def decode(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode latents, (B, C, h, w), to pixels, and say which pictures are finite throughout."""
        mean, deviation = self._statistics()
        unpacked = pixel_shuffle(latents * deviation + mean, PATCH).to(self.autoencoder.dtype)
        pixels: torch.Tensor = self.autoencoder.decode(unpacked).sample
        return pixels, torch.isfinite(unpacked).flatten(1).all(1) & torch.isfinite(pixels).flatten(1).all(1)

    def shift(self, steps: int) -> float:
        """Return diffusers' `mu`, which was fitted to number of tokens and steps."""
        mu: float = compute_empirical_mu(self.tokens, steps)
        return mu

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents of one picture."""
        side = self.working.size // self.patch
        return self.denoiser.config.in_channels, side, side

    def blank(self, count: int, length: int) -> KleinStates:
        """Return a conditioning of zeros, to plan memory with."""
        return KleinStates(torch.zeros(count, length, self.denoiser.config.joint_attention_dim, dtype=self.dtype))

    def rename_lora(self, weights: Mapping[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
        """Rename a LoRA's tensors to ComfyUI's names."""
        return lora_names.rename_for_comfy_klein(weights, alpha)

    def predict(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """Return the flow to the noise for noisy latents (B, C, h, w); of the same shape."""
        words = cast(KleinStates, conditioning)
        height, width = latents.shape[2:]
        tokens, places = pack(latents), grid(0, height, width, latents.device)
        if words.references is not None:
            count = words.references.shape[1]
            others = [grid(APART * (index + 1), *words.sides, latents.device) for index in range(count)]
            tokens = torch.cat([tokens, words.references.flatten(1, 2).to(tokens.dtype)], dim=1)
            places = torch.cat([places, *others])
        flow: torch.Tensor = self.denoiser(
            hidden_states=tokens,
            timestep=(times / 1000).expand(len(latents)),
            guidance=None,
            encoder_hidden_states=words.states,
            txt_ids=sequence(words.states.shape[1], latents.device),
            img_ids=places,
            return_dict=False,
        )[0]
        return flow[:, : height * width].transpose(1, 2).reshape(latents.shape)

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of latents in patches, float32, (1, C, 1, 1)."""
        norm, config = self.autoencoder.bn, self.autoencoder.config
        mean, variance = (one.float()[None, :, None, None] for one in (norm.running_mean, norm.running_var))
        return mean, torch.sqrt(variance + config.batch_norm_eps)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Return latents (B, C, h, w) as a sequence of tokens, (B, h * w, C)."""
    return latents.flatten(2).transpose(1, 2)


def grid(time: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return the places of a picture's tokens: time, row, column and 0, integers, (h * w, 4)."""
    starts = ((time, time + 1), (0, height), (0, width), (0, 1))
    return torch.cartesian_prod(*(torch.arange(first, last, device=device) for first, last in starts))


def sequence(length: int, device: torch.device) -> torch.Tensor:
    """Return the places of words: zeros and the index in the prompt, integers, (length, 4)."""
    return torch.nn.functional.pad(torch.arange(length, device=device)[:, None], (3, 0))
