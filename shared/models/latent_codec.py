"""Pictures to latents and back, as a base model's UNet sees them: scaled and shifted as its autoencoder says."""

from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

Autoencoder: TypeAlias = AutoencoderKL | AutoencoderTiny


def encode(vae: Autoencoder, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Encode pictures.

    Args:
        vae: on the pixels' device.
        pixels: (B, 3, H, W) in [-1, 1].

    Returns:
        Mean and standard deviation of the latents, float32, (B, C, h, w); the deviation is None for an autoencoder
        that gives one latent for a picture.
    """
    shift, scale = _shift_and_scale(vae)
    encoded = vae.encode(pixels.to(vae.dtype))
    if hasattr(encoded, "latent_dist"):
        spread = encoded.latent_dist.std.float() * scale
        return (encoded.latent_dist.mean.float() - shift) * scale, spread
    return (encoded.latents.float() - shift) * scale, None


def decode(vae: Autoencoder, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode latents, (B, C, h, w).

    Returns:
        Pixels of the autoencoder's type, (B, 3, H, W), about [-1, 1] but not limited to it; and (B,) which of them are
        finite throughout, the latents as well: a norm in the decoder may hide what is not.
    """
    shift, scale = _shift_and_scale(vae)
    scaled = (latents / scale + shift).to(vae.dtype)
    pixels: torch.Tensor = vae.decode(scaled).sample
    return pixels, torch.isfinite(scaled).flatten(1).all(1) & torch.isfinite(pixels).flatten(1).all(1)


def _shift_and_scale(vae: Autoencoder) -> tuple[float, float]:
    return float(getattr(vae.config, "shift_factor", None) or 0.0), float(vae.config.scaling_factor)
