"""The denoiser: UNet and text encoder, trained together on the autoencoder's latents to predict v."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

from shared.models.portrait_tiny.recipe import text
from shared.models.portrait_tiny.recipe.autoencoder import CHANNELS, DEVIATION, PATCH
from shared.models.portrait_tiny.recipe.checkpoint import RecipeCheckpoint, cosine
from shared.models.portrait_tiny.recipe.portraits import SIZE, Portraits, augment, crop_center, tensor
from shared.models.portrait_tiny.recipe.schedule import STEPS, signal_levels

log = logging.getLogger(__name__)

BLOCKS = (80, 160, 192)
MIRRORED = (0, 2, 1)  # index of each direction's mirror image: ahead, right, left


@dataclass(frozen=True)
class DenoiserPlan:
    """Length, batch size, learning rate and share of empty captions of the denoiser's training."""

    pictures: int = 131_200
    batch: int = 16
    rate: float = 6e-4
    unconditional: float = 0.1
    seed: int = 2


class Denoiser(nn.Module):
    """UNet and text encoder as one module, because they are trained, averaged and saved together."""

    def __init__(self, tokens: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(
            sample_size=SIZE // PATCH,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            block_out_channels=BLOCKS,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=128,
            attention_head_dim=(2, 5, 6),  # the number of heads, despite its name
            norm_num_groups=16,
        )
        self.text = text.encoder(tokens)
        padded = tokens(text.captions(), padding="max_length", truncation=True, return_tensors="pt").input_ids
        self.register_buffer("tokens", padded, persistent=False)

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
        """Predict v for latents (N, 8, 24, 24), timesteps (N,) and indices of captions (N,)."""
        states = self.text(self.tokens).last_hidden_state[captions]
        predicted: torch.Tensor = self.unet(noisy, timesteps, states).sample
        return predicted


def train(autoencoder: AutoencoderTiny, portraits: Portraits, plan: DenoiserPlan, work: Path) -> Denoiser:
    """Train up to the plan's number of pictures, resuming from the checkpoint in `work` if there is one."""
    torch.manual_seed(plan.seed)
    model = Denoiser(text.tokenizer())
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=1e-2, fused=True)
    checkpoint = RecipeCheckpoint(work / "denoiser.pt", model, optimizer, averaging=0.998)
    steps, first = plan.pictures // plan.batch, checkpoint.resume()
    generator = np.random.default_rng(plan.seed + first)
    losses: list[float] = []
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * cosine(step, steps, warm_up=200)
        latents, captions = batch(autoencoder, portraits, plan, generator)
        value = loss(model, latents, captions)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        checkpoint.average()
        losses.append(value.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            checkpoint.save(step + 1)
            held = held_out_loss(checkpoint.averaged, autoencoder, portraits)
            log.info("denoiser step %d of %d, loss %.4f, held-out %.4f", step + 1, steps, np.mean(losses), held)
            losses.clear()
    averaged: Denoiser = checkpoint.averaged
    return averaged


def batch(
    autoencoder: AutoencoderTiny, portraits: Portraits, plan: DenoiserPlan, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a batch: latents of augmented portraits, and the indices of their captions."""
    images, captions = [], []
    for row in generator.integers(0, portraits.training, plan.batch):
        image, mirrored = augment(portraits.canvases[row], generator)
        direction = int(portraits.directions[row])
        images.append(image)
        captions.append(2 * (MIRRORED[direction] if mirrored else direction) + int(portraits.smiles[row]))
    chosen = torch.tensor(captions)
    chosen[torch.from_numpy(generator.random(plan.batch) < plan.unconditional)] = len(text.captions()) - 1
    with torch.no_grad():
        return autoencoder.encoder(tensor(images)) / DEVIATION, chosen


def loss(
    model: Denoiser, latents: torch.Tensor, captions: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Return the mean squared error of v (Salimans & Ho 2022), with timesteps spread evenly over the batch."""
    count = len(latents)
    spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    timesteps = (spread * STEPS).long()
    level = signal_levels()[timesteps].float()[:, None, None, None]
    noise = torch.randn(latents.shape, generator=generator)
    noisy = level.sqrt() * latents + (1 - level).sqrt() * noise
    target = level.sqrt() * noise - (1 - level).sqrt() * latents
    return functional.mse_loss(model(noisy, timesteps, captions), target)


@torch.no_grad()
def held_out_loss(model: Denoiser, autoencoder: AutoencoderTiny, portraits: Portraits) -> float:
    """Return the loss on the held-out portraits, always with the same noise."""
    rows = range(portraits.training, len(portraits.canvases))
    latents = autoencoder.encoder(tensor([crop_center(portraits.canvases[row]) for row in rows])) / DEVIATION
    captions = torch.tensor([2 * int(portraits.directions[row]) + int(portraits.smiles[row]) for row in rows])
    return float(loss(model, latents, captions, torch.Generator().manual_seed(0)))
