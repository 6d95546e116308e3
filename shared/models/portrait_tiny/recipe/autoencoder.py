"""The autoencoder: 96 px to 24 x 24 x 8 and back, an AutoencoderTiny of which only the decoder is trained.

The encoder projects 4 x 4 patches onto their whitened principal components, which are written into the convolutions of
an encoder without blocks, which is linear. It needs no training, it keeps nearly all that 8 of 48 numbers can keep
(32.4 dB with a linear decoder), and the standard deviation of its latents is known by construction, so the denoiser can
be trained at the same time as the decoder. With an encoder of the same size that was trained as well, the autoencoder
reached 20.7 dB in the time in which this one reached 26.6 dB.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import nn
from torch.nn import functional

from shared.models.portrait_tiny.recipe.checkpoint import RecipeCheckpoint, cosine
from shared.models.portrait_tiny.recipe.portraits import Portraits, augment, crop_center, tensor

log = logging.getLogger(__name__)

CHANNELS = 8
PATCH = 4
WIDTH = 64  # channels; at least the 48 numbers of a patch, all of which the encoder carries up to its projection
DECODER_BLOCKS = (3, 3, 1)
DEVIATION = 0.5  # of the latents, small enough that edges of 6 deviations survive the decoder's 3 tanh(x / 3)
LATENT_NOISE = 0.015  # added in training, so that the decoder tolerates the denoiser's remaining errors


@dataclass(frozen=True)
class DecoderPlan:
    """Length, batch size and learning rate of the decoder's training."""

    pictures: int = 20_000
    batch: int = 8
    rate: float = 1e-3
    seed: int = 1


@dataclass(frozen=True)
class Components:
    """Whitened principal components of 4 x 4 patches: `latent = basis @ (patch - mean)`, with DEVIATION each."""

    mean: torch.Tensor
    basis: torch.Tensor

    @classmethod
    def of(cls, pixels: torch.Tensor) -> "Components":
        """Compute the components of pictures, (N, 3, H, W) in [-1, 1]."""
        patches = functional.pixel_unshuffle(pixels, PATCH).permute(0, 2, 3, 1).reshape(-1, 3 * PATCH**2)
        mean = patches.mean(0)
        variances, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
        kept = choose_components(vectors.flip(1))
        strongest = DEVIATION * vectors.flip(1)[:, kept] / variances.flip(0)[kept].sqrt()
        return cls(mean, strongest.T.contiguous())


def choose_components(vectors: torch.Tensor) -> list[int]:
    """Return the indices of the components to keep: the three that carry a patch's mean color, then the strongest.

    By rank alone, green against magenta would be the ninth component, and every picture would lose it.

    Args:
        vectors: components as columns, (48, 48), by falling variance.
    """
    means = vectors.T.reshape(-1, 3, PATCH**2).mean(2) * PATCH
    colors = means.square().sum(1).topk(3).indices.tolist()
    others = [index for index in range(vectors.shape[1]) if index not in colors]
    return sorted([*colors, *others[: CHANNELS - 3]])


def build_untrained(components: Components) -> AutoencoderTiny:
    """Return the autoencoder with its final encoder and an untrained decoder."""
    stages = len(DECODER_BLOCKS)
    model = AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * stages,
        decoder_block_out_channels=(WIDTH,) * stages,
        latent_channels=CHANNELS,
        num_encoder_blocks=(0,) * stages,
        num_decoder_blocks=DECODER_BLOCKS,
        scaling_factor=1 / DEVIATION,
    )
    write_components(model, components)
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def write_components(model: AutoencoderTiny, components: Components) -> None:
    """Set the encoder's four convolutions so that together they project onto the components.

    The first passes the colors on. The next two, of stride 2, each gather 2 x 2 neighbors into channels. The last one
    projects. It also undoes that AutoencoderTiny passes (x + 1) / 2 to its encoder.
    """
    first, *gathering, last = model.encoder.layers
    for layer in (first, *gathering, last):
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    for color in range(3):
        first.weight[color, color, 1, 1] = 1
    order = [(color, 0, 0) for color in range(3)]
    for level, layer in enumerate(gathering):
        gathered: list[tuple[int, int, int]] = []
        for channel, (color, y, x) in enumerate(order):
            for dy in range(2):
                for dx in range(2):
                    layer.weight[len(gathered), channel, 1 + dy, 1 + dx] = 1
                    gathered.append((color, y + dy * 2**level, x + dx * 2**level))
        order = gathered
    places = torch.tensor([color * PATCH**2 + y * PATCH + x for color, y, x in order])
    last.weight[:, : len(order), 1, 1] = 2 * components.basis[:, places]
    last.bias.copy_(-(components.basis @ (components.mean + 1)))


def loss(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return the decoder's loss: squared and absolute error for the PSNR, and error of the gradients for sharpness."""
    rows = functional.l1_loss(decoded.diff(dim=2), pixels.diff(dim=2))
    columns = functional.l1_loss(decoded.diff(dim=3), pixels.diff(dim=3))
    return functional.mse_loss(decoded, pixels) + 0.2 * functional.l1_loss(decoded, pixels) + 0.4 * (rows + columns)


def train(portraits: Portraits, plan: DecoderPlan, work: Path) -> AutoencoderTiny:
    """Train the decoder up to the plan's number of pictures, resuming from the checkpoint in `work` if there is one."""
    torch.manual_seed(plan.seed)
    components = Components.of(tensor([crop_center(image) for image in portraits.canvases[: portraits.training : 3]]))
    model = build_untrained(components)
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=plan.rate, weight_decay=1e-4, fused=True)
    checkpoint = RecipeCheckpoint(work / "decoder.pt", model, optimizer, averaging=0.99)
    steps, first = plan.pictures // plan.batch, checkpoint.resume()
    for each in (model, checkpoint.averaged):
        write_components(each, components)  # resuming has loaded the encoder that was current when it was saved
    generator = np.random.default_rng(plan.seed + first)
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * cosine(step, steps)
        chosen = generator.integers(0, portraits.training, plan.batch)
        pixels = tensor([augment(portraits.canvases[row], generator)[0] for row in chosen])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            latents = model.encoder(pixels)
        value = loss(model.decoder(latents + LATENT_NOISE * torch.randn_like(latents)), pixels)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        optimizer.step()
        checkpoint.average()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            checkpoint.save(step + 1)
            psnr = held_out_psnr(checkpoint.averaged, portraits)
            log.info("decoder step %d of %d, loss %.4f, held-out PSNR %.2f dB", step + 1, steps, value.item(), psnr)
    averaged: AutoencoderTiny = checkpoint.averaged
    return averaged


@torch.no_grad()
def held_out_psnr(model: AutoencoderTiny, portraits: Portraits) -> float:
    """Return the mean peak signal-to-noise ratio of the held-out portraits in dB, with pixels clipped to [-1, 1]."""
    pixels = tensor([crop_center(image) for image in portraits.canvases[portraits.training :]])
    errors = (model.decoder(model.encoder(pixels)).clamp(-1, 1) - pixels).square().mean(dim=(1, 2, 3))
    return float((10 * torch.log10(4 / errors)).mean())
