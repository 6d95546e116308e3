"""The memory of a UNet in a training and in portraits.

What a training keeps for the backward pass of the UNet is a sum over its layers of bytes for each picture, pixel of the
latents and channel; tests compare the sums with passes of tensors that have a shape but no memory. Half precision means
autocast, where norms and their inputs are float32. Bytes kept for each channel:

| layer | half | float32 | recomputed, half | recomputed, float32 |
|---|---|---|---|---|
| residual block, for each channel in and out | 10 | 12 | 2, in only | 4, in only |
| its shortcut if that is a convolution, for each channel in | 2 | 0 | 0 | 0 |
| transformer layer | 60 | 92 | 2 | 4 |
| the adapter of a transformer layer, for each rank | 12 | 24 | 0 | 0 |
| norm around the transformer layers | 4 | 4 | 4 | 4 |
| projections around them if they are convolutions | 4 | 8 | 4 | 8 |
| change of size, at the pixels of its convolution | 2 | 4 | 2 | 4 |
| last norm and convolution | 10 | 12 | 10 | 12 |

Layers before the first one with an adapter keep nothing.

What one layer works with (PASSING) is estimated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D

from shared.models.planned_peak import ADAMS, FLOAT, Footprint, PlannedPeak, adapter, coding, list_widths, weights

PASSING = 36  # bytes per channel and latent pixel that the widest layer, GEGLU, works with in half precision


@dataclass(frozen=True, eq=False)
class UNetFootprint(Footprint):
    """The shape of a base model with a UNet.

    Attributes:
        encoders: the text encoders.
        size: side of the pictures that the model works on, in pixels.
        dtype: precision of the weights.
        vae_dtype: precision of the autoencoder's weights.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    encoders: Sequence[torch.nn.Module]
    size: int
    dtype: torch.dtype
    vae_dtype: torch.dtype

    @property
    def pixels(self) -> int:
        """Number of pixels in the latents of one picture."""
        side: int = self.size // 2 ** (len(list_widths(self.vae)) - 1)
        return side**2

    def training(self, batch: int, rank: int, targets: Sequence[str], recomputing: bool) -> PlannedPeak:
        """Plan the updates of a training."""
        pictures, layers = batch * self.pixels, list(_layers(self, rank))
        learning = adapter(self.unet, rank, targets)
        widest = max(layer.kept for layer in layers if layer.recomputed)
        kept = sum(layer.entering if recomputing and layer.recomputed else layer.kept for layer in layers)
        casts = 0 if self.dtype == torch.float32 else learning * self.dtype.itemsize
        return PlannedPeak(
            weights=weights(self.unet, self.dtype),
            adapter=ADAMS * FLOAT * learning,
            saved=round(pictures * kept) + casts,
            passing=round(pictures * widest * (1 if recomputing else 0)) + _passing(self, batch),
            others=0,
        )

    def encoding(self) -> PlannedPeak:
        """Plan the start of a training."""
        leaving = sum(weights(one, self.dtype) for one in self.encoders)
        decoding = coding(self.vae, self.size, self.vae_dtype)
        return PlannedPeak(weights(self.unet, self.dtype), 0, 0, max(0, decoding - leaving), _others(self))

    def portraits(self, faces: int, guided: bool, rank: int, targets: Sequence[str], controls: int = 0) -> PlannedPeak:
        """Plan the diffusion of several faces in one batch.

        ControlNets are assumed to be large: each is counted as the down and middle blocks of the UNet, of which it is
        a copy.
        """
        adapters = faces * adapter(self.unet, rank, targets) * self.dtype.itemsize
        copied = weights(self.unet.down_blocks, self.dtype) + weights(self.unet.mid_block, self.dtype)
        decoding = coding(self.vae, self.size, self.vae_dtype)
        passing = max(_passing(self, faces * (2 if guided else 1)), decoding)
        held = weights(self.unet, self.dtype) + controls * copied
        return PlannedPeak(held, adapters, 0, passing, _others(self))


@dataclass(frozen=True)
class _Layer:
    """A layer's memory in bytes per pixel of the picture's latents.

    Attributes:
        kept: kept for the backward pass.
        entering: kept of the layer's input if the rest is recomputed.
        recomputed: whether gradient checkpointing recomputes the layer.
    """

    kept: float
    entering: float
    recomputed: bool


def _others(shape: UNetFootprint) -> int:
    return weights(shape.vae, shape.vae_dtype) + sum(weights(one, shape.dtype) for one in shape.encoders)


def _passing(shape: UNetFootprint, pictures: int) -> int:
    widest = max(
        _share(name, shape.unet) * module.norm.num_channels
        for name, module in _blocks(shape.unet)
        if isinstance(module, Transformer2DModel)
    )
    skipped = sum(_share(name, shape.unet) * module.out_channels for name, module in _skip_sources(shape.unet))
    half = shape.dtype.itemsize / 2
    passing: float = half * pictures * shape.pixels * (PASSING * widest + 2 * skipped)
    return round(passing)


def _skip_sources(unet: UNet2DConditionModel) -> Iterator[tuple[str, ResnetBlock2D]]:
    """Yield the residual blocks whose outputs are held for the skip connections."""
    for name, module in unet.down_blocks.named_modules(prefix="down_blocks"):
        if isinstance(module, ResnetBlock2D):
            yield name, module


def _layers(shape: UNetFootprint, rank: int) -> Iterator[_Layer]:
    """Yield the layers that keep something for the backward pass, in the UNet's order."""
    unet, half = shape.unet, shape.dtype != torch.float32
    learning = False
    for name, module in _blocks(unet):
        share = _share(name, unet)
        if isinstance(module, Transformer2DModel):
            learning = True
            around = 4 if module.use_linear_projection else (8 if half else 12)
            yield _Layer(share * around * module.norm.num_channels, 0, recomputed=False)
        elif isinstance(module, BasicTransformerBlock):
            width = module.norm1.normalized_shape[0]
            kept = (60 * width + 12 * rank) if half else (92 * width + 24 * rank)
            yield _Layer(share * kept, share * width * (2 if half else 4), recomputed=True)
        elif isinstance(module, ResnetBlock2D) and learning:
            into, out = module.in_channels, module.out_channels
            shortcut = 2 * into if half and module.conv_shortcut is not None else 0
            kept = (10 if half else 12) * (into + out) + shortcut
            yield _Layer(share * kept, share * into * (2 if half else 4), recomputed=True)
        elif isinstance(module, Downsample2D | Upsample2D) and learning:
            larger = 4 if isinstance(module, Upsample2D) else 1
            yield _Layer(share * larger * module.channels * (2 if half else 4), 0, recomputed=False)
    yield _Layer(unet.config.block_out_channels[0] * (10 if half else 12), 0, recomputed=False)


def _blocks(unet: UNet2DConditionModel) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield each module inside the UNet's blocks with its block's name, in the order in which they run."""
    for level, block in enumerate(unet.down_blocks):
        yield from _inside(f"down_blocks.{level}", block)
    yield from _inside("mid_block", unet.mid_block)
    for level, block in enumerate(unet.up_blocks):
        yield from _inside(f"up_blocks.{level}", block)


def _inside(prefix: str, block: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield a block's modules: each residual block with the transformer after it, then the change of size."""
    attentions = list(getattr(block, "attentions", None) or [])
    before = 1 if prefix == "mid_block" else 0  # whose first residual block comes before all transformers
    for index, resnet in enumerate(block.resnets):
        yield prefix, resnet
        for attention in attentions[max(0, index - before) : index + 1 - before]:
            for _, part in attention.named_modules():
                yield prefix, part
    for changing in (*(getattr(block, "downsamplers", None) or []), *(getattr(block, "upsamplers", None) or [])):
        yield prefix, changing


def _share(prefix: str, unet: UNet2DConditionModel) -> float:
    """Return the number of pixels in a block over that of the picture's latents."""
    levels = len(unet.config.block_out_channels)
    kind, _, number = prefix.partition(".")
    level = levels - 1
    if kind == "down_blocks":
        level = int(number.partition(".")[0])
    elif kind == "up_blocks":
        level = levels - 1 - int(number.partition(".")[0])
    return 0.25**level
