"""The latents of all crops of a training, encoded once by the base model's autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from functions.train.crops import Crop
from shared.imaging.array_types import Image
from shared.models.base_model import DiffusionModel
from shared.models.transfers import copy_to_device

PIXELS_AT_ONCE = 512 * 512  # in one pass of the autoencoder, whose widest layers hold 128 floats for each pixel

CropKey = tuple[int, int]
"""Index of a photo, and index of the crop of that photo."""


@dataclass(frozen=True, eq=False)
class Latents:
    """Distributions of latents, scaled as the denoiser expects them.

    Attributes:
        mean: float32, (N, C, h, w).
        deviation: standard deviation, of the same shape; None if the autoencoder returns latents and no distribution.
    """

    mean: torch.Tensor
    deviation: torch.Tensor | None

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Draw once from each distribution, (N, C, h, w).

        Draw again for every use: a draw that is kept adds the same noise to the photo in every update, and is learned.
        """
        if self.deviation is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + self.deviation * noise

    def rows(self, chosen: torch.Tensor) -> "Latents":
        """Select rows by their indices `chosen`, (n,), in that order."""
        return Latents(self.mean[chosen], None if self.deviation is None else self.deviation[chosen])


@dataclass(frozen=True, eq=False)
class LatentCache:
    """All crops of a training as latents, one row per crop.

    Attributes:
        keys: photo and crop of each row. Rows are found by key and not by step, so that a loop that shuffles
            differently still gets the right picture.
        latents: the rows' distributions.
        masks: the rows' weights in the loss, float32, (N, 1, h, w).
    """

    keys: list[CropKey]
    latents: Latents
    masks: torch.Tensor

    def __len__(self) -> int:
        return len(self.keys)


def cache_latents(model: DiffusionModel, crops: dict[CropKey, Crop]) -> LatentCache:
    """Encode every crop once; the cache is on the model's device."""
    keys = sorted(crops)
    latents = encode(model, [crops[key].image for key in keys])
    masks = torch.from_numpy(np.stack([crops[key].mask for key in keys]))[:, None]
    masks = copy_to_device(masks, model.device)
    return LatentCache(keys, latents, functional.interpolate(masks, latents.mean.shape[-2:], mode="area"))


@torch.no_grad()
def encode(model: DiffusionModel, images: Sequence[Image]) -> Latents:
    """Encode RGB uint8 pictures of working size."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    parts = [_encode_some(model, part) for part in torch.split(pixels, _at_once(model))]
    deviations = [part.deviation for part in parts if part.deviation is not None]
    return Latents(torch.cat([part.mean for part in parts]), torch.cat(deviations) if deviations else None)


@torch.no_grad()
def decode(model: DiffusionModel, latents: torch.Tensor) -> list[Image]:
    """Decode latents (N, C, h, w) to RGB uint8 pictures."""
    pictures = []
    for part in torch.split(latents, _at_once(model)):
        pixels = model.decode(part)[0].float().clamp(-1, 1)
        levels = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        pictures += [np.ascontiguousarray(picture) for picture in levels]
    return pictures


def _at_once(model: DiffusionModel) -> int:
    return max(1, PIXELS_AT_ONCE // model.working.size**2)


def _encode_some(model: DiffusionModel, levels: torch.Tensor) -> Latents:
    return Latents(*model.encode(copy_to_device(levels, model.device).float() / 127.5 - 1))
