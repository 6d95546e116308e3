"""The peak of a GPU's memory in a training or a portrait, calculated from the shape of the base model.

Weights are counted. Each family says what a training keeps for the backward pass, and what a layer works with.

Only a GPU can show the rest, which is estimated: its context and the workspaces of its libraries (CONTEXT), and the
autoencoder's memory (DECODER).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shared.models.quantization import Quantization, linear_layers, shape_of, weight_bytes

CONTEXT = 600_000_000  # bytes for CUDA's context and for what cuBLAS and cuDNN reserve
FLOAT = 4  # bytes of a float32, in which adapters are trained
ADAMS = 4  # copies of the adapter: its weights, their gradient, and the optimizer's two moments
DECODER = 3  # tensors of the autoencoder's widest full-size layer at once: its input, its norm, its output


@dataclass(frozen=True)
class PlannedPeak:
    """Bytes in use at the peak.

    Attributes:
        weights: of the UNet and of the ControlNets.
        adapter: LoRAs on the UNet; in a training with gradients and the optimizer's moments.
        saved: what a training keeps of a pass for the backward pass.
        passing: what a single layer works with.
        others: text encoders and autoencoder, if they are on the GPU at the peak.
        context: of the process before it has done anything.
    """

    weights: int
    adapter: int
    saved: int
    passing: int
    others: int
    context: int = CONTEXT

    @property
    def total(self) -> int:
        """All bytes together."""
        return self.weights + self.adapter + self.saved + self.passing + self.others + self.context


class Footprint(ABC):
    """Plans the memory of a base model, of which only the shape is used: its parts may be on the meta device.

    `targets` are the ends of the names of the modules that adapters have, `rank` is the adapters' rank.
    """

    @abstractmethod
    def training(self, batch: int, rank: int, targets: Sequence[str], recomputing: bool) -> PlannedPeak:
        """Plan the updates of a training, when text encoders and autoencoder are not on the GPU.

        Args:
            batch: pictures in one pass.
            rank, targets: of the adapter.
            recomputing: gradient checkpointing is on, so that layers keep their inputs only.
        """

    @abstractmethod
    def encoding(self) -> PlannedPeak:
        """Plan the start of a training: text encoders run first, and are off the GPU when pictures are encoded."""

    @abstractmethod
    def portraits(self, faces: int, guided: bool, rank: int, targets: Sequence[str], controls: int = 0) -> PlannedPeak:
        """Plan the diffusion of several faces in one batch, each with its own adapter.

        Args:
            faces: number of faces.
            guided: with guidance, which doubles the batch by the negative prompt.
            rank, targets: of the adapters.
            controls: number of ControlNets.
        """


def weights(part: torch.nn.Module, dtype: torch.dtype, quantization: Quantization | None = None) -> int:
    """Return the bytes of a part's parameters; those of linear layers may be quantized."""
    layers = [] if quantization is None else linear_layers(part)
    quantized = {id(layer.weight) for layer in layers}
    count: int = sum(parameter.numel() for parameter in part.parameters() if id(parameter) not in quantized)
    return count * dtype.itemsize + sum(weight_bytes(layer, dtype, quantization) for layer in layers)


def adapter(denoiser: torch.nn.Module, rank: int, targets: Sequence[str]) -> int:
    """Return the number of weights of a LoRA on the modules whose names end in one of the `targets`."""
    ends = tuple(f".{target}" for target in targets)
    layers = [module for name, module in denoiser.named_modules() if f".{name}".endswith(ends)]
    sides = [side for layer in layers for side in _sides(layer)]
    return rank * sum(sides)


def coding(vae: Any, size: int, dtype: torch.dtype) -> int:
    """Return the bytes that an autoencoder works with for one picture with sides of `size`."""
    known = list_widths(vae)
    widest: int = known[min(1, len(known) - 1)]
    return DECODER * size**2 * widest * dtype.itemsize


def list_widths(vae: Any) -> list[int]:
    """Return the channels of an autoencoder's levels, finest first."""
    return list(getattr(vae.config, "block_out_channels", None) or vae.config.decoder_block_out_channels)


def _sides(layer: torch.nn.Module) -> list[int]:
    """Return the sides of a LoRA's two matrices other than the rank; empty for a layer without weights."""
    if getattr(layer, "weight", None) is None:
        return []
    out, into, *kernel = shape_of(layer)
    return [out, into * int(torch.tensor(kernel or [1]).prod())]
