"""A user's LoRA, checked to fit the base model's denoiser before it is used."""

import hashlib
import json
from dataclasses import dataclass

import torch
from diffusers import ModelMixin
from peft import LoraConfig

from functions.generate.diffusion.lora_file import KOHYA, LoraError, LoraFile, LoraPart, Tensors
from shared.models.quantization import precision_of, shape_of

WRAPPING = {"base_layer", "lora_A", "lora_B"}  # peft's names of the modules inside an adapted module


@dataclass(frozen=True, eq=False)
class Lora:
    """One user's LoRA, in peft's form.

    Attributes:
        shape: an identifier of its modules, ranks and alphas; LoRAs of the same shape fit the same resident adapter.
        tensors: by peft's parameter names without the adapter's name.
        config: the configuration for a new resident adapter of this shape.
    """

    shape: str
    tensors: Tensors
    config: LoraConfig

    @property
    def size(self) -> int:
        """The size of its tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def fit_lora(
    file: LoraFile, denoiser: ModelMixin, prefix: str | None = None, unadaptable: tuple[str, ...] = ()
) -> Lora:
    """Convert the file's parts to a LoRA for this denoiser.

    Args:
        file: the file.
        denoiser: the base model's denoiser.
        prefix: what diffusers' names begin with for it; None accepts all.
        unadaptable: beginnings of names of modules that no LoRA may adapt.

    Raises:
        LoraError: the denoiser has no such module, a matrix has another size, or values are not finite or too large for
            the denoiser's precision.
    """
    if None not in (file.prefix, prefix) and file.prefix != prefix:
        raise LoraError(f"this LoRA was made for a {file.prefix}, and the base model has a {prefix}: train again")
    layers = _adaptable_layers(denoiser)
    spelled = {KOHYA + name.replace(".", "_"): name for name in layers} | {name: name for name in layers}
    parts: dict[str, LoraPart] = {}
    for written, part in file.parts.items():
        name = spelled.get(written)
        if name is None:
            raise LoraError(f"this LoRA does not fit the base model, which has no module {written[:100]!r}")
        if name.startswith(unadaptable):
            raise LoraError(f"this LoRA adapts {name}, which all pictures of a batch go through as one: train again")
        if name in parts:
            raise LoraError(f"this LoRA file has two entries for the module {name}")
        _check_part(name, part, layers[name])
        parts[name] = part
    tensors = {f"{name}.lora_A.weight": part.down for name, part in parts.items()}
    tensors |= {f"{name}.lora_B.weight": part.up for name, part in parts.items()}
    described = json.dumps([sorted((name, part.rank, part.alpha) for name, part in parts.items()), file.rooted])
    shape = "lora-" + hashlib.sha256(described.encode()).hexdigest()[:32]
    return Lora(shape, tensors, _config(parts, file.rooted))


def _adaptable_layers(denoiser: ModelMixin) -> dict[str, torch.nn.Module]:
    """Return all modules that can have a LoRA, by their names, without what peft has wrapped them in."""
    layers = {
        name: getattr(module, "base_layer", module)
        for name, module in denoiser.named_modules()
        if WRAPPING.isdisjoint(name.split("."))
    }
    return {name: layer for name, layer in layers.items() if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)}


def _check_part(name: str, part: LoraPart, layer: torch.nn.Module) -> None:
    """Raise LoraError unless the part can be added to a module whose weight is (out, in, ...)."""
    (out, *into), precision = shape_of(layer), precision_of(layer)
    down, up = (part.rank, *into), (out, part.rank, *[1] * (len(into) - 1))
    if (part.down.shape, part.up.shape) != (down, up):
        raise LoraError(
            f"this LoRA does not fit the base model: for {name} it has matrices of the shapes {list(part.down.shape)} "
            f"and {list(part.up.shape)}, which should be {list(down)} and {list(up)}"
        )
    if not all(torch.isfinite(tensor.to(precision)).all() for tensor in (part.down, part.up)):
        raise LoraError(f"this LoRA has values for {name} that are not finite or too large for the base model")


def _config(parts: dict[str, LoraPart], rooted: bool) -> LoraConfig:
    """Return the configuration for an adapter of these modules alone, each with the rank and alpha of its part."""
    first = next(iter(parts.values()))
    # peft treats the names in a pattern as regular expressions
    named = {"^" + name.replace(".", r"\."): part for name, part in parts.items()}
    return LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,
        rank_pattern={name: part.rank for name, part in named.items() if part.rank != first.rank},
        alpha_pattern={name: part.alpha for name, part in named.items() if part.alpha != first.alpha},
        target_modules=list(parts),
        use_rslora=rooted,
    )
