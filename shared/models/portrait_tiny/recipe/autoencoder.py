"""The autoencoder: 128 px to 16 x 16 x 16 and back, an AutoencoderTiny whose latents have mean 0 and deviation 1."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import nn
from torch.nn import functional

from shared.models.portrait_tiny.recipe.checkpoint import Checkpoint, cosine
from shared.models.portrait_tiny.recipe.portraits import Portraits, augmented, centred, tensor

log = logging.getLogger(__name__)

CHANNELS = 16
WIDTH = 64
ENCODER_BLOCKS = (0, 2, 3, 3)  # none at full size, where a block costs most and adds least
DECODER_BLOCKS = (3, 3, 2, 1)
LATENT_NOISE = 0.05  # the decoder learns to shrug off the denoiser's last errors


@dataclass(frozen=True)
class AutoencoderPlan:
    """How long and how fast to train."""

    pictures: int = 16_000
    batch: int = 8
    rate: float = 1.5e-3
    seed: int = 1


class NormalisedAutoencoder(nn.Module):
    """AutoencoderTiny with a batch norm on its latents, which `folded` turns into weights of the last convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.tiny = AutoencoderTiny(
            encoder_block_out_channels=(WIDTH,) * 4,
            decoder_block_out_channels=(WIDTH,) * 4,
            latent_channels=CHANNELS,
            num_encoder_blocks=ENCODER_BLOCKS,
            num_decoder_blocks=DECODER_BLOCKS,
            scaling_factor=1.0,
        ).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(CHANNELS, affine=False, momentum=0.02)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [-1, 1] to their reconstruction."""
        latents = self.norm(self.tiny.encoder(pixels))
        if self.training:
            latents = latents + LATENT_NOISE * torch.randn_like(latents)
        decoded: torch.Tensor = self.tiny.decoder(latents)
        return decoded

    def folded(self) -> AutoencoderTiny:
        """A plain AutoencoderTiny that encodes to normalised latents by itself."""
        encoder = self.tiny.encoder.layers[-1]
        mean, deviation = self.norm.running_mean, (self.norm.running_var + self.norm.eps).sqrt()
        with torch.no_grad():
            encoder.weight.div_(deviation[:, None, None, None])
            encoder.bias.sub_(mean).div_(deviation)
        return self.tiny.eval()


def loss(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Squared error for the figure, absolute error of the gradients for the eye."""
    rows = functional.l1_loss(decoded.diff(dim=2), pixels.diff(dim=2))
    columns = functional.l1_loss(decoded.diff(dim=3), pixels.diff(dim=3))
    return functional.mse_loss(decoded, pixels) + 0.2 * functional.l1_loss(decoded, pixels) + 0.4 * (rows + columns)


def train(portraits: Portraits, plan: AutoencoderPlan, work: Path) -> NormalisedAutoencoder:
    """Train up to the plan's number of pictures, going on from the checkpoint in `work` if there is one."""
    torch.manual_seed(plan.seed)
    model = NormalisedAutoencoder()
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=1e-4, fused=True)
    checkpoint = Checkpoint(work / "autoencoder.pt", model, optimiser)
    steps, first = plan.pictures // plan.batch, checkpoint.resume()
    generator = np.random.default_rng(plan.seed + first)
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * cosine(step, steps)
        chosen = generator.integers(0, portraits.training, plan.batch)
        pixels = tensor([augmented(portraits.canvases[row], generator)[0] for row in chosen])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        value = loss(model(pixels), pixels)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        checkpoint.average()
        if (step + 1) % 100 == 0:
            checkpoint.save(step + 1)
            log.info("autoencoder step %d of %d, loss %.4f, held-out PSNR %.2f dB", step + 1, steps, value.item(),
                     held_out_psnr(checkpoint.averaged, portraits))
    return checkpoint.averaged.eval()


@torch.no_grad()
def held_out_psnr(model: nn.Module, portraits: Portraits) -> float:
    """Mean over the held-out portraits of the peak signal-to-noise ratio in dB, pixels clipped as a picture's are."""
    model.eval()
    pixels = tensor([centred(image) for image in portraits.canvases[portraits.training :]])
    errors = (model(pixels).clamp(-1, 1) - pixels).square().mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4 / errors)).mean())
