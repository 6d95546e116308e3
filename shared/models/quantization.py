"""Base weights in fewer bits, by the quantization of diffusers: for GPUs that the weights in bfloat16 do not fit.

| setting | library | what a linear layer's weight takes | where it computes |
|---|---|---|---|
| `int8` | torchao, weights only | 8 bits, and a scale for each row | GPU, CPU |
| `nf4` | bitsandbytes, Dettmers et al., "QLoRA" (2023) | 4 bits, and 0.13 for the scales of blocks of 64 | GPU |

Only the denoiser is quantized, as by diffusers' training scripts, and of it linear layers only. Their weights are
brought back to the model's precision in each layer, so that activations, adapters and gradients are not quantized.
"""

import math
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from diffusers import BitsAndBytesConfig, TorchAoConfig

from shared.errors import ConfigurationError, how_to_install
from shared.models.architectures import ARCHITECTURES

Quantization = Literal["int8", "nf4"]

LIBRARIES = {"int8": "torchao", "nf4": "bitsandbytes"}
GPU_ONLY = frozenset({"nf4"})  # diffusers refuses bitsandbytes without a GPU
BLOCK = 64  # weights that share a scale in NF4
SCALES = 256  # of those scales, in 8 bits, that share one in float32
# for the backward pass torchao keeps a copy of each weight in the model's precision; bitsandbytes makes it again
KEEPS_COPIES = frozenset({"int8"})


class QuantizationUnavailable(ConfigurationError):
    """Raised when the base model's weights cannot be quantized as configured; the message says what to do."""


def require_quantization(
    quantization: Quantization | None, kind: str, device: torch.device, is_file: bool = False
) -> None:
    """Raise QuantizationUnavailable if the base model, device or installation do not allow the quantization.

    Args:
        quantization: what is configured.
        kind: the base model's architecture.
        device: where it computes.
        is_file: the base model is a single file.
    """
    if quantization is None:
        return
    setting = f"PHOTOG_MODEL__QUANTIZATION={quantization}"
    if not ARCHITECTURES[kind].quantizable:
        able = [one.title for one in ARCHITECTURES.values() if one.quantizable]
        raise QuantizationUnavailable(
            f"{setting} is for {' and '.join(able)}; the base model is {ARCHITECTURES[kind].title}: unset it"
        )
    if is_file:
        # diffusers 0.42 takes the weights of a file for quantized ones, and leaves them as they are
        raise QuantizationUnavailable(
            f"{setting} needs a diffusers folder or a hub id, and the base model is a single file: save it as a folder "
            "by save_pretrained of diffusers, or unset it"
        )
    if quantization in GPU_ONLY and device.type != "cuda":
        raise QuantizationUnavailable(
            f"{setting} needs a GPU, and the model is on {device}: unset it, or set it to int8"
        )
    if find_spec(LIBRARIES[quantization]) is None:
        library = LIBRARIES[quantization]
        raise QuantizationUnavailable(f"{setting} needs {library}, which is missing: {how_to_install('quantized')}")


def configure_quantization(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig | TorchAoConfig:
    """Return diffusers' configuration, for `from_pretrained`, of weights that compute in `dtype`."""
    if quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    # by name: the library is in an extra of its own, and nothing else here imports it
    return TorchAoConfig(import_module("torchao.quantization").Int8WeightOnlyConfig())


def weight_bytes(layer: torch.nn.Linear, dtype: torch.dtype, quantization: Quantization | None) -> int:
    """Return the bytes of a linear layer's weight; the layer may be quantized already."""
    count = layer.out_features * layer.in_features
    if quantization is None:
        return count * dtype.itemsize
    if quantization == "int8":
        return count + layer.out_features * dtype.itemsize
    blocks = math.ceil(count / BLOCK)
    return math.ceil(count / 2) + blocks + math.ceil(blocks / SCALES) * torch.float32.itemsize


def linear_layers(denoiser: torch.nn.Module) -> list[torch.nn.Linear]:
    """Return the linear layers of a denoiser, without those of adapters on it."""
    found: list[torch.nn.Linear] = [
        module
        for name, module in denoiser.named_modules()
        if isinstance(module, torch.nn.Linear) and not {"lora_A", "lora_B"} & set(name.split("."))
    ]
    return found


def shape_of(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer's weight as it was before it was quantized."""
    if isinstance(layer, torch.nn.Linear):
        return layer.out_features, layer.in_features
    return tuple(layer.weight.shape)


def precision_of(layer: Any) -> torch.dtype:
    """Return the type in which a layer computes, whatever its weight is stored in."""
    dtype: torch.dtype = layer.weight.dtype
    return dtype if dtype.is_floating_point else layer.compute_dtype
