"""Words as a UNet takes them: text states, and for SDXL the pooled state and the picture's size beside them."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from shared.models.diffusion import DiffusionModel, Text


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What a wording is to a UNet.

    Attributes:
        states: (B, length, width).
        added: SDXL's `text_embeds` (B, width) and `time_ids` (B, 6); None for SD 1.5.
    """

    states: torch.Tensor
    added: dict[str, torch.Tensor] | None = None

    def expand(self, count: int) -> "Conditioning":
        """The same for every picture of a batch; this one must be of one picture."""
        added = self.added and {name: tensor.expand(count, -1) for name, tensor in self.added.items()}
        return Conditioning(self.states.expand(count, -1, -1), added)

    def followed_by(self, other: "Conditioning") -> "Conditioning":
        """One batch of both."""
        added = None
        if self.added is not None and other.added is not None:
            added = {name: torch.cat([tensor, other.added[name]]) for name, tensor in self.added.items()}
        return Conditioning(torch.cat([self.states, other.states]), added)


@torch.no_grad()
def conditioned(model: DiffusionModel, words: str) -> Conditioning:
    """A wording for one picture of the model's working size, uncropped.

    SD 1.5 takes the last layer of its one encoder. SDXL takes the last layer but one of both, side by side, and the
    second one's projection (Podell et al., "SDXL", 2023, section 2.1 and 2.2 for the size).
    """
    if model.second is None:
        return Conditioning(_encoded(model, model.first, words)[0].to(model.dtype))
    outputs = [_encoded(model, text, words, output_hidden_states=True) for text in (model.first, model.second)]
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1).to(model.dtype)
    size = model.working.size
    sizes = torch.tensor([[size, size, 0, 0, size, size]], device=model.device, dtype=model.dtype)
    return Conditioning(states, {"text_embeds": outputs[1].text_embeds.to(model.dtype), "time_ids": sizes})


def predicted(
    unet: UNet2DConditionModel, latents: torch.Tensor, times: torch.Tensor, conditioning: Conditioning
) -> torch.Tensor:
    """What the UNet makes of noisy latents (B, C, h, w)."""
    if conditioning.added is None:
        plain: torch.Tensor = unet(latents, times, conditioning.states).sample
        return plain
    sized: torch.Tensor = unet(latents, times, conditioning.states, added_cond_kwargs=conditioning.added).sample
    return sized


def _encoded(model: DiffusionModel, text: Text, words: str, **options: bool) -> Any:
    tokens = text.tokenizer(
        words, padding="max_length", truncation=True, max_length=text.tokenizer.model_max_length, return_tensors="pt"
    )
    return text.encoder(tokens.input_ids.to(model.device), **options)
