"""How much of a card's memory a training or a portrait will take at most, worked out from the base model's shape.

Weights are counted. What is kept for the way back through a UNet is a sum over its layers, of bytes for each picture,
pixel of latents and channel; tests hold the sums against passes of tensors that have a shape and no memory. Half
precision is autocast's: norms and what enters them are float32 there. Bytes a channel, half precision | float32:

| layer | kept | when it is recomputed |
|---|---|---|
| residual block, in and out | 10 and 10, 2 more in for a shortcut of its own | 12 and 12 | 2 | 4, of what enters |
| transformer layer | 60, and 12 for each rank of the adapter | 92 and 24 | 2 | 4 |
| around them: norm, and projections by convolution | 4, and 4 | 4, and 8 | the same |
| change of size, at the pixels of its convolution | 2 | 4 | the same |
| last norm and convolution | 10 | 12 | the same |

Layers before the first that learns keep nothing. What nothing but a card can show is estimated: its context and its
libraries' workspaces (CONTEXT), what a layer works with (PASSING) and what the autoencoder does (DECODER).
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

CONTEXT = 600_000_000  # bytes of CUDA's context, and of what cuBLAS and cuDNN reserve beside it
FLOAT = 4  # bytes; what adapters are trained in
ADAMS = 4  # copies of the adapter: itself, its gradient, and the optimizer's two moments
PASSING = 36  # bytes a channel and pixel of latents, in half precision, that one layer works with: GEGLU's are widest
DECODER = 3  # of the widest pictures that the autoencoder has at full size: a layer's input, its norm, its output


@dataclass(frozen=True)
class PlannedPeak:
    """Bytes at the worst moment.

    Attributes:
        weights: of the UNet, and ControlNets beside it.
        adapter: LoRAs on it, in a training with gradients and the optimizer's moments.
        saved: what a training keeps of each pass for the way back.
        passing: what a layer works with.
        others: encoders and autoencoder that are there at that moment.
        context: of the process, before it has done anything.
    """

    weights: int
    adapter: int
    saved: int
    passing: int
    others: int
    context: int = CONTEXT

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.adapter + self.saved + self.passing + self.others + self.context


@dataclass(frozen=True, eq=False)
class Shape:
    """A base model of which only the shape matters: its parts may lie on the meta device.

    Attributes:
        encoders: of words.
        size: side of the pictures that it works on, in pixels.
        dtype: of its weights.
        vae_dtype: of the autoencoder's.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    encoders: Sequence[torch.nn.Module]
    size: int
    dtype: torch.dtype
    vae_dtype: torch.dtype

    @property
    def pixels(self) -> int:
        """Of one picture's latents."""
        side: int = self.size // 2 ** (len(_widths(self.vae)) - 1)
        return side**2


@dataclass(frozen=True)
class _Layer:
    """A layer's bytes for one pixel of the whole picture's latents.

    Attributes:
        kept: for the way back.
        entering: of what must stay when the rest of it is recomputed.
        recomputed: whether checkpoints are set around it.
    """

    kept: float
    entering: float
    recomputed: bool


def training(shape: Shape, batch: int, rank: int, targets: Sequence[str], recomputing: bool) -> PlannedPeak:
    """Of a training's updates: encoders and autoencoder are away then.

    Args:
        batch: pictures of one pass.
        rank, targets: of the adapter.
        recomputing: only what enters each layer is kept, the rest made again on the way back.
    """
    pictures, layers = batch * shape.pixels, list(_layers(shape, rank))
    learning = adapter(shape.unet, rank, targets)
    widest = max(layer.kept for layer in layers if layer.recomputed)
    kept = sum(layer.entering if recomputing and layer.recomputed else layer.kept for layer in layers)
    casts = 0 if shape.dtype == torch.float32 else learning * shape.dtype.itemsize
    return PlannedPeak(
        weights=weights(shape.unet, shape.dtype),
        adapter=ADAMS * FLOAT * learning,
        saved=round(pictures * kept) + casts,
        passing=round(pictures * widest * (1 if recomputing else 0)) + _passing(shape, batch),
        others=0,
    )


def encoding(shape: Shape) -> PlannedPeak:
    """Of a training's beginning: first the encoders are there, and when they are gone a picture is encoded."""
    leaving = sum(weights(one, shape.dtype) for one in shape.encoders)
    return PlannedPeak(weights(shape.unet, shape.dtype), 0, 0, max(0, coding(shape) - leaving), _others(shape))


def portraits(
    shape: Shape, faces: int, guided: bool, rank: int, targets: Sequence[str], controls: Sequence[torch.nn.Module] = ()
) -> PlannedPeak:
    """Of a diffusion of some faces in one batch, each wearing an adapter of its own.

    Args:
        guided: the negative words go through beside the others.
        controls: ControlNets.
    """
    worn = faces * adapter(shape.unet, rank, targets) * shape.dtype.itemsize
    beside = sum(weights(net, shape.dtype) for net in controls)
    passing = max(_passing(shape, faces * (2 if guided else 1)), coding(shape))
    return PlannedPeak(weights(shape.unet, shape.dtype) + beside, worn, 0, passing, _others(shape))


def weights(part: torch.nn.Module, dtype: torch.dtype) -> int:
    """Bytes of a part's parameters."""
    count: int = sum(parameter.numel() for parameter in part.parameters())
    return count * dtype.itemsize


def adapter(unet: UNet2DConditionModel, rank: int, targets: Sequence[str]) -> int:
    """Numbers of a LoRA on the UNet's modules that these are the ends of the names of."""
    ends = tuple(f".{target}" for target in targets)
    layers = [module for name, module in unet.named_modules() if name.endswith(ends)]
    sides = [side for layer in layers for side in _sides(layer)]
    return rank * sum(sides)


def coding(shape: Shape) -> int:
    """Bytes that one picture takes on its way through the autoencoder."""
    widths = _widths(shape.vae)
    widest: int = widths[min(1, len(widths) - 1)]
    return DECODER * shape.size**2 * widest * shape.vae_dtype.itemsize


def _others(shape: Shape) -> int:
    return weights(shape.vae, shape.vae_dtype) + sum(weights(one, shape.dtype) for one in shape.encoders)


def _sides(layer: torch.nn.Module) -> list[int]:
    """Of a LoRA's two matrices, but for the rank; none for what can wear none."""
    weight = getattr(layer, "weight", None)
    if weight is None:
        return []
    out, into, *kernel = weight.shape
    return [out, into * int(torch.tensor(kernel or [1]).prod())]


def _widths(vae: AutoencoderKL | AutoencoderTiny) -> Sequence[int]:
    known = getattr(vae.config, "block_out_channels", None) or vae.config.decoder_block_out_channels
    return list(known)


def _passing(shape: Shape, pictures: int) -> int:
    widest = max(
        _share(name, shape.unet) * module.norm.num_channels
        for name, module in _blocks(shape.unet)
        if isinstance(module, Transformer2DModel)
    )
    skipped = sum(_share(name, shape.unet) * module.out_channels for name, module in _skipped(shape.unet))
    half = shape.dtype.itemsize / 2
    passing: float = half * pictures * shape.pixels * (PASSING * widest + 2 * skipped)
    return round(passing)


def _skipped(unet: UNet2DConditionModel) -> Iterator[tuple[str, ResnetBlock2D]]:
    """What goes down and is held until it comes up again."""
    for name, module in unet.down_blocks.named_modules(prefix="down_blocks"):
        if isinstance(module, ResnetBlock2D):
            yield name, module


def _layers(shape: Shape, rank: int) -> Iterator[_Layer]:
    """Those that keep something, in the UNet's order."""
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
    """All that is inside of the UNet's blocks, in the order in which it is run."""
    for level, block in enumerate(unet.down_blocks):
        yield from _inside(f"down_blocks.{level}", block)
    yield from _inside("mid_block", unet.mid_block)
    for level, block in enumerate(unet.up_blocks):
        yield from _inside(f"up_blocks.{level}", block)


def _inside(prefix: str, block: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """A residual block, the transformer after it, the next ones, and the change of size."""
    attentions = list(getattr(block, "attentions", None) or [])
    before = 1 if prefix == "mid_block" else 0  # its first residual block comes before all of them
    for index, resnet in enumerate(block.resnets):
        yield prefix, resnet
        for attention in attentions[max(0, index - before) : index + 1 - before]:
            for _, part in attention.named_modules():
                yield prefix, part
    for changing in (*(getattr(block, "downsamplers", None) or []), *(getattr(block, "upsamplers", None) or [])):
        yield prefix, changing


def _share(prefix: str, unet: UNet2DConditionModel) -> float:
    """Pixels of a block over those of the picture's latents."""
    levels = len(unet.config.block_out_channels)
    kind, _, number = prefix.partition(".")
    level = levels - 1
    if kind == "down_blocks":
        level = int(number.partition(".")[0])
    elif kind == "up_blocks":
        level = levels - 1 - int(number.partition(".")[0])
    return 0.25**level
