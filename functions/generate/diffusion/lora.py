"""A user's LoRA, made sure to fit the base model's UNet before anything is done with it."""

import hashlib
import json
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

from functions.generate.diffusion.lora_file import KOHYA_UNET, LoraError, LoraFile, LoraPart, Tensors

WRAPPING = {"base_layer", "lora_A", "lora_B"}  # names that peft gives to what is inside of an adapted module


@dataclass(frozen=True, eq=False)
class Lora:
    """One user's adapter.

    Attributes:
        shape: name of the resident adapter that it fits: same modules, ranks and alphas.
        tensors: under peft's names without the adapter's.
        config: what a new resident adapter is made of.
    """

    shape: str
    tensors: Tensors
    config: LoraConfig

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def fit_lora(file: LoraFile, unet: UNet2DConditionModel) -> Lora:
    """The file's parts as an adapter of this UNet.

    Raises LoraError for a module that the UNet has not, matrices of another size, and values that are no numbers or
    too large for the UNet's precision.
    """
    weights = _weights(unet)
    spelled = {KOHYA_UNET + name.replace(".", "_"): name for name in weights} | {name: name for name in weights}
    parts: dict[str, LoraPart] = {}
    for written, part in file.parts.items():
        name = spelled.get(written)
        if name is None:
            raise LoraError(f"this LoRA does not fit the base model, which has no module {written[:100]!r}")
        if name in parts:
            raise LoraError(f"this LoRA file says twice what {name} gets")
        _check(name, part, weights[name])
        parts[name] = part
    tensors = {f"{name}.lora_A.weight": part.down for name, part in parts.items()}
    tensors |= {f"{name}.lora_B.weight": part.up for name, part in parts.items()}
    described = json.dumps([sorted((name, part.rank, part.alpha) for name, part in parts.items()), file.rooted])
    shape = "lora-" + hashlib.sha256(described.encode()).hexdigest()[:32]
    return Lora(shape, tensors, _config(parts, file.rooted))


def _weights(unet: UNet2DConditionModel) -> Tensors:
    """The weights of all modules that can wear a LoRA, by name."""
    layers = {
        name: getattr(module, "base_layer", module)
        for name, module in unet.named_modules()
        if WRAPPING.isdisjoint(name.split("."))
    }
    return {
        name: layer.weight for name, layer in layers.items() if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    }


def _check(name: str, part: LoraPart, weight: torch.Tensor) -> None:
    """LoraError where a part cannot be added to a module of this weight, (out, in, ...)."""
    down, up = (part.rank, *weight.shape[1:]), (weight.shape[0], part.rank, *[1] * (weight.ndim - 2))
    if (part.down.shape, part.up.shape) != (down, up):
        raise LoraError(
            f"this LoRA does not fit the base model: for {name} it has matrices of {list(part.down.shape)} and "
            f"{list(part.up.shape)}, which should be {list(down)} and {list(up)}"
        )
    if not all(torch.isfinite(tensor.to(weight.dtype)).all() for tensor in (part.down, part.up)):
        raise LoraError(f"this LoRA has values for {name} that are no numbers or too large ones")


def _config(parts: dict[str, LoraPart], rooted: bool) -> LoraConfig:
    """For these modules alone, each with its own rank and alpha."""
    first = next(iter(parts.values()))
    # peft takes a pattern's names for regular expressions
    named = {"^" + name.replace(".", r"\."): part for name, part in parts.items()}
    return LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,
        rank_pattern={name: part.rank for name, part in named.items() if part.rank != first.rank},
        alpha_pattern={name: part.alpha for name, part in named.items() if part.alpha != first.alpha},
        target_modules=list(parts),
        use_rslora=rooted,
    )
