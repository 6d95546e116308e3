"""The inputs that condition a UNet: text states, SDXL's pooled state and picture size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from shared.models.base_model import Conditioning
from shared.models.residuals import Residuals


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder and its tokenizer."""

    encoder: CLIPTextModel | CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer


@dataclass(frozen=True, eq=False)
class TextStates(Conditioning):
    """Prompts, encoded for a UNet.

    Attributes:
        states: text states, (B, length, width).
        added: SDXL's `text_embeds`, (B, width), and `time_ids`, (B, 6); None for SD 1.5.
    """

    states: torch.Tensor
    added: dict[str, torch.Tensor] | None = None

    def expand(self, count: int) -> Self:
        """Repeat this conditioning, which must be of one picture, for each of `count` pictures."""
        added = self.added and {name: tensor.expand(count, -1) for name, tensor in self.added.items()}
        return type(self)(self.states.expand(count, -1, -1), added)

    def concatenate(self, other: Self) -> Self:
        """Return one batch of this conditioning and, after it, the other one."""
        added = None
        if self.added is not None and other.added is not None:
            added = {name: torch.cat([tensor, other.added[name]]) for name, tensor in self.added.items()}
        return type(self)(torch.cat([self.states, other.states]), added)


@torch.no_grad()
def encode_prompt(
    encoders: Sequence[TextEncoder], words: str, size: int, device: torch.device, dtype: torch.dtype
) -> TextStates:
    """Encode a prompt for one uncropped picture with sides of `size`.

    SD 1.5 uses the last layer of its only text encoder. SDXL concatenates the second-to-last layers of its two
    encoders, and adds the projection of the second one and the picture's size (Podell et al., "SDXL", 2023, sections
    2.1 and 2.2).
    """
    if len(encoders) == 1:
        return TextStates(_encode(encoders[0], words, device)[0].to(dtype))
    outputs = [_encode(text, words, device, output_hidden_states=True) for text in encoders]
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1).to(dtype)
    sizes = torch.tensor([[size, size, 0, 0, size, size]], device=device, dtype=dtype)
    return TextStates(states, {"text_embeds": outputs[1].text_embeds.to(dtype), "time_ids": sizes})


def predict_noise(
    unet: UNet2DConditionModel,
    latents: torch.Tensor,
    times: torch.Tensor,
    conditioning: TextStates,
    residuals: Residuals | None = None,
) -> torch.Tensor:
    """Return the UNet's prediction for noisy latents (B, C, h, w); of the same shape."""
    predicted: torch.Tensor = unet(
        latents,
        times,
        conditioning.states,
        added_cond_kwargs=conditioning.added,
        down_block_additional_residuals=residuals and tuple(residuals.down),
        mid_block_additional_residual=residuals and residuals.middle,
    ).sample
    return predicted


def _encode(text: TextEncoder, words: str, device: torch.device, **options: bool) -> Any:
    tokens = text.tokenizer(
        words, padding="max_length", truncation=True, max_length=text.tokenizer.model_max_length, return_tensors="pt"
    )
    return text.encoder(tokens.input_ids.to(device), **options)
