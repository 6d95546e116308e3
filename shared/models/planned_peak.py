"""The peak of a GPU's memory in a training or a portrait, calculated from the shape of the base model.

Weights are counted. What a training keeps for the backward pass of the UNet is a sum over its layers of bytes for each
picture, pixel of the latents and channel; tests compare the sums with passes of tensors that have a shape but no
memory. Half precision means autocast, where norms and their inputs are float32. Bytes kept for each channel:

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

Only a GPU can show the rest, which is estimated: its context and the workspaces of its libraries (CONTEXT), the memory
that one layer works with (PASSING) and the autoencoder's (DECODER).
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

CONTEXT = 600_000_000  # bytes for CUDA's context and for what cuBLAS and cuDNN reserve
FLOAT = 4  # bytes of a float32, in which adapters are trained
ADAMS = 4  # copies of the adapter: its weights, their gradient, and the optimizer's two moments
PASSING = 36  # bytes per channel and latent pixel that the widest layer, GEGLU, works with in half precision
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


@dataclass(frozen=True, eq=False)
class Shape:
    """A base model of which only the shape is used, so that its parts may be on the meta device.

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
        side: int = self.size // 2 ** (len(_widths(self.vae)) - 1)
        return side**2


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


def training(shape: Shape, batch: int, rank: int, targets: Sequence[str], recomputing: bool) -> PlannedPeak:
    """Plan the updates of a training, when text encoders and autoencoder are not on the GPU.

    Args:
        shape: the base model.
        batch: pictures in one pass.
        rank, targets: of the adapter.
        recomputing: gradient checkpointing is on, so that layers keep their inputs only.
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
    """Plan the start of a training: the text encoders run first, and are off the GPU when pictures are encoded."""
    leaving = sum(weights(one, shape.dtype) for one in shape.encoders)
    return PlannedPeak(weights(shape.unet, shape.dtype), 0, 0, max(0, coding(shape) - leaving), _others(shape))


def portraits(
    shape: Shape, faces: int, guided: bool, rank: int, targets: Sequence[str], controls: Sequence[torch.nn.Module] = ()
) -> PlannedPeak:
    """Plan the diffusion of several faces in one batch, each with its own adapter.

    Args:
        shape: the base model.
        faces: number of faces.
        guided: with guidance, which doubles the batch by the negative prompt.
        rank, targets: of the adapters.
        controls: ControlNets.
    """
    adapters = faces * adapter(shape.unet, rank, targets) * shape.dtype.itemsize
    beside = sum(weights(net, shape.dtype) for net in controls)
    passing = max(_passing(shape, faces * (2 if guided else 1)), coding(shape))
    return PlannedPeak(weights(shape.unet, shape.dtype) + beside, adapters, 0, passing, _others(shape))


def weights(part: torch.nn.Module, dtype: torch.dtype) -> int:
    """Return the bytes of a part's parameters."""
    count: int = sum(parameter.numel() for parameter in part.parameters())
    return count * dtype.itemsize


def adapter(unet: UNet2DConditionModel, rank: int, targets: Sequence[str]) -> int:
    """Return the number of weights of a LoRA on the modules whose names end in one of the `targets`."""
    ends = tuple(f".{target}" for target in targets)
    layers = [module for name, module in unet.named_modules() if name.endswith(ends)]
    sides = [side for layer in layers for side in _sides(layer)]
    return rank * sum(sides)


def coding(shape: Shape) -> int:
    """Return the bytes that the autoencoder works with for one picture."""
    widths = _widths(shape.vae)
    widest: int = widths[min(1, len(widths) - 1)]
    return DECODER * shape.size**2 * widest * shape.vae_dtype.itemsize


def _others(shape: Shape) -> int:
    return weights(shape.vae, shape.vae_dtype) + sum(weights(one, shape.dtype) for one in shape.encoders)


def _sides(layer: torch.nn.Module) -> list[int]:
    """Return the sides of a LoRA's two matrices other than the rank; empty for a layer without weights."""
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
    skipped = sum(_share(name, shape.unet) * module.out_channels for name, module in _skip_sources(shape.unet))
    half = shape.dtype.itemsize / 2
    passing: float = half * pictures * shape.pixels * (PASSING * widest + 2 * skipped)
    return round(passing)


def _skip_sources(unet: UNet2DConditionModel) -> Iterator[tuple[str, ResnetBlock2D]]:
    """Yield the residual blocks whose outputs are held for the skip connections."""
    for name, module in unet.down_blocks.named_modules(prefix="down_blocks"):
        if isinstance(module, ResnetBlock2D):
            yield name, module


def _layers(shape: Shape, rank: int) -> Iterator[_Layer]:
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
