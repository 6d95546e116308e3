"""A LoRA as a file: a .safetensors that somebody else may have written, read without trusting a byte of it.

| what is looked at | before |
|---|---|
| size of the file, length of its header | anything is read out of it |
| names, types, shapes, number of tensors; what the metadata says of rank and strength | any tensor is made |
| the numbers themselves | the LoRA may be kept, see `adapter` |

Names are diffusers' (`unet.<module>.lora_A.weight`, or the older `.lora.down.weight`) or kohya's
(`lora_unet_<module>.lora_down.weight`, and `.alpha`). Only the UNet's part is used; a text encoder's is passed over.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import safetensors.torch
import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError

from shared.devices import device_errors
from shared.errors import PhotogError

MOST_BYTES = 2**30  # of a file; rank 128 on all of SDXL's attention has 0.4 GiB
MOST_HEADER = 8 * 2**20  # bytes; the format allows 100 MB, of which the largest known LoRAs use one
MOST_TENSORS = 20_000  # all modules of SDXL and both of its text encoders have 4,000
LONGEST_NAME = 512
MOST_RANK = 1024
DTYPES = ("F32", "F16", "BF16")
LENGTH = 8  # bytes that say how long the header is

UNET, KOHYA_UNET = "unet.", "lora_unet_"
TEXT_ENCODERS = ("text_encoder.", "text_encoder_2.", "lora_te_", "lora_te1_", "lora_te2_")
DOWN, UP, ALPHA = "down", "up", "alpha"
ROLES = {
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora.down.weight": DOWN,
    ".lora.up.weight": UP,
    ".lora_down.weight": DOWN,
    ".lora_up.weight": UP,
    ".alpha": ALPHA,
}
OLDEST = re.compile(r"(.+?)(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
PLAIN = re.compile(r"\^?[A-Za-z0-9_.]+")  # a pattern that is a module's name, or the end of one

Tensors = dict[str, torch.Tensor]
Value = TypeVar("Value")


class LoraError(PhotogError):
    """The file is no LoRA for this UNet; the message says why."""


@dataclass(frozen=True, eq=False)
class LoraPart:
    """What a LoRA adds to one module.

    Attributes:
        down, up: (rank, in, ...) and (out, rank, ...), as they were stored.
        alpha: strength of their product, before it is divided by the rank or its root.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Of the two matrices."""
        return len(self.down)


@dataclass(frozen=True, eq=False)
class LoraFile:
    """What a file holds for a UNet.

    Attributes:
        parts: by module, under the UNet's own name or in kohya's spelling.
        rooted: the strength is divided by the root of the rank (rsLoRA), not by the rank.
    """

    parts: dict[str, LoraPart]
    rooted: bool


@dataclass(frozen=True)
class LoraStrength:
    """What the metadata of diffusers says of ranks and strengths; patterns are names of modules, or ends of them."""

    rank: int | None
    alpha: float | None
    ranks: dict[str, int]
    alphas: dict[str, float]
    rooted: bool


def parse_lora(data: bytes) -> LoraFile:
    """Read a LoRA.

    Raises LoraError, and nothing else, whatever the bytes are.
    """
    described, metadata = read_header(data)
    roles = {name: found for name in described if (found := _role(name)) is not None}
    if not roles:
        raise LoraError("this LoRA file holds nothing for a UNet")
    said = _strength(metadata.get(LORA_ADAPTER_METADATA_KEY))
    try:
        with device_errors():
            stored = safetensors.torch.load(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise LoraError(f"this is no LoRA file: {error}") from error
    modules: dict[str, Tensors] = {}
    for name, (module, role) in roles.items():
        if role in modules.setdefault(module, {}):
            raise LoraError(f"this LoRA file says twice what {_shown(module)} gets")
        modules[module][role] = stored[name]
    return LoraFile({module: _part(module, found, said) for module, found in modules.items()}, said.rooted)


def read_header(data: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors' descriptions by name, each with an admissible type and shape, and the file's metadata.

    Raises LoraError.
    """
    if len(data) > MOST_BYTES:
        raise LoraError(f"a LoRA file may have {MOST_BYTES} bytes, this one has {len(data)}")
    length = int.from_bytes(data[:LENGTH], "little")
    if len(data) < LENGTH + 2 or length > len(data) - LENGTH:
        raise LoraError("this is no LoRA file: it is shorter than its header")
    if length > MOST_HEADER:
        raise LoraError(f"the header of a LoRA file may have {MOST_HEADER} bytes, this one's has {length}")
    try:
        described = json.loads(data[LENGTH : LENGTH + length].decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise LoraError(f"this is no LoRA file: its header cannot be read: {error}") from error
    if not isinstance(described, dict):
        raise LoraError("this is no LoRA file: its header is no object")
    metadata = described.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise LoraError("this is no LoRA file: its metadata are no texts by name")
    if len(described) > MOST_TENSORS:
        raise LoraError(f"a LoRA file may have {MOST_TENSORS} tensors, this one has {len(described)}")
    for name, tensor in described.items():
        _check(name, tensor)
    return described, metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in it")
    return found


def _check(name: str, tensor: Any) -> None:
    """Refuse a description that no LoRA's tensor has; offsets are looked at by safetensors itself."""
    if len(name) > LONGEST_NAME:
        raise LoraError(f"a tensor of this LoRA file has a name of {len(name)} characters")
    if not isinstance(tensor, dict) or not isinstance(tensor.get("shape"), list):
        raise LoraError(f"{_shown(name)} in this LoRA file has no shape")
    if tensor.get("dtype") not in DTYPES:
        given = _shown(str(tensor.get("dtype")))
        raise LoraError(f"{_shown(name)} in this LoRA file is of type {given}; a LoRA has {', '.join(DTYPES)}")
    if not all(type(side) is int and 0 < side < 2**31 for side in tensor["shape"]) or len(tensor["shape"]) > 4:
        raise LoraError(f"{_shown(name)} in this LoRA file has the shape {_shown(str(tensor['shape']))}")


def _role(name: str) -> tuple[str, str] | None:
    """Which module a tensor is for, and what it is there; None for a text encoder's. LoraError for anything else."""
    if name.startswith(TEXT_ENCODERS):
        return None
    bare = name.removeprefix(UNET)
    ending = next((ending for ending in ROLES if name.endswith(ending)), None)
    if ending is not None and name.startswith((UNET, KOHYA_UNET)):
        return bare.removesuffix(ending), ROLES[ending]
    old = OLDEST.fullmatch(bare)
    if old is not None and name.startswith(UNET):
        layer = "to_out.0" if old[2] == "to_out" else old[2]
        return f"{old[1]}.{layer}", old[3]
    raise LoraError(f"{_shown(name)} in this file is no part of a LoRA for a UNet that can be read here")


def _part(module: str, found: Tensors, said: LoraStrength) -> LoraPart:
    """One module's matrices and strength; LoraError where they do not belong together."""
    if DOWN not in found or UP not in found:
        raise LoraError(f"this LoRA file has one matrix for {_shown(module)}, not two")
    down, up = found[DOWN], found[UP]
    if down.ndim != up.ndim or down.ndim not in (2, 4):
        raise LoraError(f"this LoRA file has matrices of {down.ndim} and {up.ndim} sides for {_shown(module)}")
    rank = len(down)
    if rank > MOST_RANK:
        raise LoraError(f"the rank for {_shown(module)} is {rank}; {MOST_RANK} is the most")
    if up.shape[1] != rank or _of(said.ranks, module, said.rank or rank) != rank:
        raise LoraError(f"this LoRA file has two ranks for {_shown(module)}")
    alpha = _of(said.alphas, module, said.alpha or float(rank))
    if ALPHA in found:
        if found[ALPHA].numel() != 1:
            raise LoraError(f"this LoRA file has more than one alpha for {_shown(module)}")
        alpha = float(found[ALPHA])
    if not 0 < alpha < float("inf"):
        raise LoraError(f"alpha is {alpha} for {_shown(module)}: a LoRA's strength must be above 0")
    return LoraPart(down, up, alpha)


def _strength(text: str | None) -> LoraStrength:
    """Of the metadata that diffusers writes; LoraError where they cannot be true."""
    if not text:
        return LoraStrength(None, None, {}, {}, False)
    try:
        said = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise LoraError(f"the metadata of this LoRA file cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise LoraError("the metadata of this LoRA file are no object")
    for other in ("use_dora", "lora_bias"):
        if said.get(UNET + other):
            raise LoraError(f"this LoRA file was made with {other}, which is not read here")
    rank, alpha = said.get(UNET + "r"), said.get(UNET + "lora_alpha")
    ranks, alphas = said.get(UNET + "rank_pattern") or {}, said.get(UNET + "alpha_pattern") or {}
    if not (rank is None or _is_rank(rank)) or not _pattern(ranks, _is_rank):
        raise LoraError(f"the metadata of this LoRA file name a rank that is not 1 to {MOST_RANK}")
    if not (alpha is None or _is_alpha(alpha)) or not _pattern(alphas, _is_alpha):
        raise LoraError("the metadata of this LoRA file name an alpha that is no number above 0")
    return LoraStrength(rank, alpha, ranks, alphas, said.get(UNET + "use_rslora") is True)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _is_rank(value: Any) -> bool:
    return type(value) is int and 0 < value <= MOST_RANK


def _is_alpha(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e9  # an integer may be too large for a float


def _pattern(value: Any, admissible: Callable[[Any], bool]) -> bool:
    """Whether it gives admissible values by modules' names; no other regular expressions are run."""
    return isinstance(value, dict) and all(PLAIN.fullmatch(key) and admissible(one) for key, one in value.items())


def _of(pattern: dict[str, Value], module: str, otherwise: Value) -> Value:
    """What a pattern says of a module: under its whole name, or the longest end of it after a dot."""
    pieces = module.split(".")
    ends = ["^" + module, *(".".join(pieces[start:]) for start in range(len(pieces)))]
    return next((pattern[end] for end in ends if end in pattern), otherwise)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")
