"""The inputs that condition a UNet: text states, SDXL's pooled state and picture size, and ControlNets' residuals."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from shared.models.diffusion import DiffusionModel, TextEncoder


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Prompts, encoded for a UNet.

    Attributes:
        states: text states, (B, length, width).
        added: SDXL's `text_embeds`, (B, width), and `time_ids`, (B, 6); None for SD 1.5.
    """

    states: torch.Tensor
    added: dict[str, torch.Tensor] | None = None

    def expand(self, count: int) -> "Conditioning":
        """Repeat this conditioning, which must be of one picture, for each of `count` pictures."""
        added = self.added and {name: tensor.expand(count, -1) for name, tensor in self.added.items()}
        return Conditioning(self.states.expand(count, -1, -1), added)

    def concatenate(self, other: "Conditioning") -> "Conditioning":
        """Return one batch of this conditioning and, after it, the other one."""
        added = None
        if self.added is not None and other.added is not None:
            added = {name: torch.cat([tensor, other.added[name]]) for name, tensor in self.added.items()}
        return Conditioning(torch.cat([self.states, other.states]), added)


@torch.no_grad()
def encode_prompt(model: DiffusionModel, words: str) -> Conditioning:
    """Encode a prompt for one uncropped picture of the model's working size.

    SD 1.5 uses the last layer of its only text encoder. SDXL concatenates the second-to-last layers of its two
    encoders, and adds the projection of the second one and the picture's size (Podell et al., "SDXL", 2023, sections
    2.1 and 2.2).
    """
    if model.second is None:
        return Conditioning(_encode(model, model.first, words)[0].to(model.dtype))
    outputs = [_encode(model, text, words, output_hidden_states=True) for text in (model.first, model.second)]
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1).to(model.dtype)
    size = model.working.size
    sizes = torch.tensor([[size, size, 0, 0, size, size]], device=model.device, dtype=model.dtype)
    return Conditioning(states, {"text_embeds": outputs[1].text_embeds.to(model.dtype), "time_ids": sizes})


@dataclass(frozen=True, eq=False)
class Residuals:
    """What ControlNets add to the activations of a UNet: a tensor for each skip connection, and one for the middle."""

    down: list[torch.Tensor]
    middle: torch.Tensor

    def __add__(self, other: "Residuals") -> "Residuals":
        """Add the residuals of another ControlNet, as diffusers' MultiControlNetModel does."""
        pairs = zip(self.down, other.down, strict=True)
        return Residuals([one + another for one, another in pairs], self.middle + other.middle)

    def after_nothing(self) -> "Residuals":
        """Prepend zeros for a batch whose first half, the one with the negative prompt, is not controlled."""
        return Residuals([_after_zeros(one) for one in self.down], _after_zeros(self.middle))


def run_controlnet(
    net: ControlNetModel,
    latents: torch.Tensor,
    times: torch.Tensor,
    conditioning: Conditioning,
    hint: torch.Tensor,
    scale: float,
) -> Residuals:
    """Run a ControlNet on noisy latents (B, C, h, w) and its embedded picture `hint`.

    Finer levels get smaller weights, as in diffusers' `guess_mode`, which is meant for nets that run with the prompt
    only and not with the negative prompt.
    """
    down, middle = net(
        latents,
        times,
        encoder_hidden_states=conditioning.states,
        controlnet_cond=hint,
        conditioning_scale=scale,
        guess_mode=True,
        added_cond_kwargs=conditioning.added,
        return_dict=False,
    )
    return Residuals(list(down), middle)


def predict_noise(
    unet: UNet2DConditionModel,
    latents: torch.Tensor,
    times: torch.Tensor,
    conditioning: Conditioning,
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


def _after_zeros(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(tensor), tensor])


def _encode(model: DiffusionModel, text: TextEncoder, words: str, **options: bool) -> Any:
    tokens = text.tokenizer(
        words, padding="max_length", truncation=True, max_length=text.tokenizer.model_max_length, return_tensors="pt"
    )
    return text.encoder(tokens.input_ids.to(model.device), **options)


def guide(without: torch.Tensor, with_words: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the noise predicted under classifier-free guidance (Ho & Salimans, 2022), of the same shape.

    Args:
        without, with_words: predicted for the negative prompt and for the prompt.
        scale: 1 returns the prediction for the prompt.
    """
    return without + scale * (with_words - without)
