"""A LoRA file: a .safetensors that anybody may have written, so it is parsed without trusting any of its bytes.

| check | done before |
|---|---|
| size of the file, length of its header | anything is parsed |
| names, types, shapes and number of tensors; ranks and alphas in the metadata | any tensor is created |
| the tensors' values | the LoRA is kept, see `lora` |

Tensors have the names of diffusers (`unet.<module>.lora_A.weight` or `transformer.`, or the older `.lora.down.weight`),
of ComfyUI (`diffusion_model.<module>.lora_A.weight`, and `.alpha`) or of kohya (`lora_unet_<module>.lora_down.weight`,
and `.alpha`). Only the denoiser's tensors are used; those of text encoders are ignored.
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

MOST_BYTES = 2**30  # of a file; rank 128 on all of SDXL's attention layers takes 0.4 GiB
MOST_HEADER = 8 * 2**20  # bytes; the format allows 100 MB, but the largest known LoRAs have 1 MB
MOST_TENSORS = 20_000  # all modules of SDXL and both of its text encoders have 4,000
LONGEST_NAME = 512  # characters
MOST_RANK = 1024
DTYPES = ("F32", "F16", "BF16")
LENGTH = 8  # bytes of the field that holds the header's length

KOHYA = "lora_unet_"
DIFFUSERS = ("unet.", "transformer.")
DENOISERS = (*DIFFUSERS, "diffusion_model.")
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
PLAIN = re.compile(r"\^?[A-Za-z0-9_.]+")  # patterns that are a module's name, or the end of one

Tensors = dict[str, torch.Tensor]
Value = TypeVar("Value")


class LoraError(PhotogError):
    """Raised when a file is not a LoRA for this base model; the message says why."""


@dataclass(frozen=True, eq=False)
class LoraPart:
    """The part of a LoRA for one module.

    Attributes:
        down, up: the two matrices, (rank, in, ...) and (out, rank, ...), in the type they are stored in.
        alpha: factor on their product, before it is divided by the rank or by the square root of the rank.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """The rank of the two matrices."""
        return len(self.down)


@dataclass(frozen=True, eq=False)
class LoraFile:
    """The content of a LoRA file for a denoiser.

    Attributes:
        parts: by the module's name, as in the denoiser or in kohya's spelling.
        rooted: whether alpha is divided by the square root of the rank (rsLoRA) instead of the rank.
        prefix: what diffusers' names begin with, without the dot; None for names of others.
    """

    parts: dict[str, LoraPart]
    rooted: bool
    prefix: str | None = None


@dataclass(frozen=True)
class LoraStrength:
    """Ranks and alphas from the metadata that diffusers writes.

    Attributes:
        rank, alpha: for all modules; None if not given.
        ranks, alphas: for some modules, by the module's name or the end of it.
        rooted: see `LoraFile`.
    """

    rank: int | None
    alpha: float | None
    ranks: dict[str, int]
    alphas: dict[str, float]
    rooted: bool


def parse_lora(data: bytes) -> LoraFile:
    """Parse a LoRA file.

    Raises:
        LoraError: the bytes are not a LoRA for a denoiser. No bytes raise anything else.
    """
    described, metadata = read_header(data)
    roles = {name: found for name in described if (found := _parse_name(name)) is not None}
    if not roles:
        raise LoraError("this LoRA file has no tensors for a UNet or a transformer")
    prefix = next((one for one in DIFFUSERS if any(name.startswith(one) for name in roles)), None)
    strength = _parse_metadata(metadata.get(LORA_ADAPTER_METADATA_KEY), prefix or DIFFUSERS[0])
    try:
        with device_errors():
            stored = safetensors.torch.load(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise LoraError(f"this is not a LoRA file: {error}") from error
    modules: dict[str, Tensors] = {}
    for name, (module, role) in roles.items():
        if role in modules.setdefault(module, {}):
            raise LoraError(f"this LoRA file has two entries for the module {_quote(module)}")
        modules[module][role] = stored[name]
    parts = {module: _build_part(module, found, strength) for module, found in modules.items()}
    return LoraFile(parts, strength.rooted, prefix and prefix.removesuffix("."))


def read_header(data: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Parse the header of a LoRA file.

    Returns:
        The description of each tensor by its name, checked to have an allowed type and shape; and the metadata.

    Raises:
        LoraError: the header cannot be read, or something in it is not allowed.
    """
    if len(data) > MOST_BYTES:
        raise LoraError(f"this LoRA file has {len(data)} bytes, more than the limit of {MOST_BYTES}")
    length = int.from_bytes(data[:LENGTH], "little")
    if len(data) < LENGTH + 2 or length > len(data) - LENGTH:
        raise LoraError("this is not a LoRA file: it is shorter than its header")
    if length > MOST_HEADER:
        raise LoraError(f"the header of this LoRA file has {length} bytes, more than the limit of {MOST_HEADER}")
    try:
        described = json.loads(data[LENGTH : LENGTH + length].decode(), object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError) as error:
        raise LoraError(f"this is not a LoRA file: its header cannot be read: {error}") from error
    if not isinstance(described, dict):
        raise LoraError("this is not a LoRA file: its header is not a JSON object")
    metadata = described.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise LoraError("this is not a LoRA file: its metadata is not a JSON object of strings")
    if len(described) > MOST_TENSORS:
        raise LoraError(f"this LoRA file has {len(described)} tensors, more than the limit of {MOST_TENSORS}")
    for name, tensor in described.items():
        _check_tensor(name, tensor)
    return described, metadata


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _check_tensor(name: str, tensor: Any) -> None:
    """Raise LoraError for a tensor description that no LoRA has; safetensors itself checks the offsets."""
    if len(name) > LONGEST_NAME:
        raise LoraError(
            f"a tensor of this LoRA file has a name of {len(name)} characters, more than the limit of {LONGEST_NAME}"
        )
    if not isinstance(tensor, dict) or not isinstance(tensor.get("shape"), list):
        raise LoraError(f"{_quote(name)} in this LoRA file has no shape")
    if tensor.get("dtype") not in DTYPES:
        given = _quote(str(tensor.get("dtype")))
        raise LoraError(f"{_quote(name)} in this LoRA file has the type {given}, not one of {', '.join(DTYPES)}")
    if not all(type(side) is int and 0 < side < 2**31 for side in tensor["shape"]) or len(tensor["shape"]) > 4:
        raise LoraError(f"{_quote(name)} in this LoRA file has the invalid shape {_quote(str(tensor['shape']))}")


def _parse_name(name: str) -> tuple[str, str] | None:
    """Return a tensor's module and its role there, or None for a text encoder's tensor.

    Raises:
        LoraError: a name that no supported LoRA has.
    """
    if name.startswith(TEXT_ENCODERS):
        return None
    bare = name.removeprefix(next((prefix for prefix in DENOISERS if name.startswith(prefix)), ""))
    ending = next((ending for ending in ROLES if name.endswith(ending)), None)
    if ending is not None and name.startswith((*DENOISERS, KOHYA)):
        return bare.removesuffix(ending), ROLES[ending]
    old = OLDEST.fullmatch(bare)
    if old is not None and name.startswith(DIFFUSERS[0]):
        layer = "to_out.0" if old[2] == "to_out" else old[2]
        return f"{old[1]}.{layer}", old[3]
    raise LoraError(f"{_quote(name)} in this file is not the name of a LoRA tensor that is supported")


def _build_part(module: str, found: Tensors, strength: LoraStrength) -> LoraPart:
    """Return one module's matrices and alpha; raise LoraError if they do not belong together."""
    if DOWN not in found or UP not in found:
        raise LoraError(f"this LoRA file does not have both matrices for {_quote(module)}")
    down, up = found[DOWN], found[UP]
    if down.ndim != up.ndim or down.ndim not in (2, 4):
        raise LoraError(
            f"this LoRA file has matrices of {down.ndim} and {up.ndim} dimensions for {_quote(module)}; "
            "both must have 2 or both 4"
        )
    rank = len(down)
    if rank > MOST_RANK:
        raise LoraError(f"the rank for {_quote(module)} is {rank}, more than the limit of {MOST_RANK}")
    if up.shape[1] != rank or _look_up(strength.ranks, module, strength.rank or rank) != rank:
        raise LoraError(f"this LoRA file has contradictory ranks for {_quote(module)} in its matrices or metadata")
    alpha = _look_up(strength.alphas, module, strength.alpha or float(rank))
    if ALPHA in found:
        if found[ALPHA].numel() != 1:
            raise LoraError(f"this LoRA file has more than one alpha for {_quote(module)}")
        alpha = float(found[ALPHA])
    if not 0 < alpha < float("inf"):
        raise LoraError(f"alpha is {alpha} for {_quote(module)}, but must be finite and above 0")
    return LoraPart(down, up, alpha)


def _parse_metadata(text: str | None, prefix: str) -> LoraStrength:
    """Parse the metadata that diffusers writes, for names with `prefix`.

    Raises LoraError if it is invalid or not supported.
    """
    if not text:
        return LoraStrength(None, None, {}, {}, False)
    try:
        metadata = json.loads(text, object_pairs_hook=_reject_duplicates, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise LoraError(f"the metadata of this LoRA file cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise LoraError("the metadata of this LoRA file is not a JSON object")
    for other in ("use_dora", "lora_bias"):
        if metadata.get(prefix + other):
            raise LoraError(f"this LoRA file was made with {other}, which is not supported")
    rank, alpha = metadata.get(prefix + "r"), metadata.get(prefix + "lora_alpha")
    ranks, alphas = metadata.get(prefix + "rank_pattern") or {}, metadata.get(prefix + "alpha_pattern") or {}
    if not (rank is None or _is_rank(rank)) or not _is_pattern(ranks, _is_rank):
        raise LoraError(f"the metadata of this LoRA file has a rank that is not between 1 and {MOST_RANK}")
    if not (alpha is None or _is_alpha(alpha)) or not _is_pattern(alphas, _is_alpha):
        raise LoraError("the metadata of this LoRA file has an alpha that is not a number above 0")
    return LoraStrength(rank, alpha, ranks, alphas, metadata.get(prefix + "use_rslora") is True)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _is_rank(value: Any) -> bool:
    return type(value) is int and 0 < value <= MOST_RANK


def _is_alpha(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e9  # an integer may be too large for a float


def _is_pattern(value: Any, admissible: Callable[[Any], bool]) -> bool:
    """Return whether the pattern maps names of modules to allowed values; real regular expressions are never run."""
    return isinstance(value, dict) and all(PLAIN.fullmatch(key) and admissible(one) for key, one in value.items())


def _look_up(pattern: dict[str, Value], module: str, otherwise: Value) -> Value:
    """Return a pattern's value for a module: that of its full name, else that of its longest end after a dot."""
    pieces = module.split(".")
    ends = ["^" + module, *(".".join(pieces[start:]) for start in range(len(pieces)))]
    return next((pattern[end] for end in ends if end in pattern), otherwise)


def _quote(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")
