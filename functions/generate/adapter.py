"""A user's LoRA on the resident UNet: tensors are copied into adapters that stay, the base's weights are never touched.

| from | event | to |
|---|---|---|
| base | `worn(key)`, shapes seen before | worn: the adapter of these shapes gets the user's tensors, in place |
| base | `worn(key)`, new shapes | worn: one more resident adapter; beyond RESIDENT the least recently used one goes |
| worn | the block ends, however | base: adapters disabled, outputs bit-identical to a UNet that never had one |
"""

import hashlib
import json
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import get_peft_model_state_dict

USERS = 32  # of which tensors are kept in memory; 19 MB each for rank 16 on SD 1.5
RESIDENT = 4  # shapes of adapters kept on the UNet; one per rank that the users were trained with
PREFIX = "unet."

Tensors = dict[str, torch.Tensor]


class LoraError(Exception):
    """The file is no LoRA for this UNet."""


@dataclass(frozen=True, eq=False)
class Lora:
    """One user's adapter as it was read.

    Attributes:
        shape: name of the resident adapter that it fits: same modules, ranks and alphas.
        tensors: under peft's names without the adapter's.
        state, alphas, metadata: what diffusers makes a new adapter of.
    """

    shape: str
    tensors: Tensors
    state: Tensors
    alphas: dict[str, float] | None
    metadata: dict[str, Any] | None


class Adapters:
    """The adapters of a UNet that many users share."""

    def __init__(self, unet: UNet2DConditionModel, users: int = USERS, resident: int = RESIDENT) -> None:
        self._unet, self._most_users, self._most_resident = unet, users, resident
        self._users: OrderedDict[str, Lora] = OrderedDict()
        self._resident: OrderedDict[str, Tensors] = OrderedDict()

    @contextmanager
    def worn(self, key: str, read: Callable[[], bytes]) -> Iterator[None]:
        """Have the UNet wear the LoRA stored under `key` inside of the block; `read` gives the file if it is new.

        Raises LoraError when the file does not fit the UNet.
        """
        lora = self._lora(key, read)
        self._put_on(lora)
        self._unet.set_adapter(lora.shape)
        self._unet.enable_adapters()
        try:
            yield
        finally:
            self._unet.disable_adapters()

    def _lora(self, key: str, read: Callable[[], bytes]) -> Lora:
        if key not in self._users:
            self._users[key] = parse(read())
            while len(self._users) > self._most_users:
                self._users.popitem(last=False)
        self._users.move_to_end(key)
        return self._users[key]

    def _put_on(self, lora: Lora) -> None:
        if lora.shape not in self._resident:
            self._add(lora)
        self._resident.move_to_end(lora.shape)
        with torch.no_grad():
            for name, tensor in self._resident[lora.shape].items():
                tensor.copy_(lora.tensors[name])

    def _add(self, lora: Lora) -> None:
        while len(self._resident) >= self._most_resident:
            oldest, _ = self._resident.popitem(last=False)
            self._unet.delete_adapters(oldest)
        try:
            self._unet.load_lora_adapter(
                dict(lora.state),
                prefix="unet",
                adapter_name=lora.shape,
                network_alphas=lora.alphas,
                metadata=lora.metadata,
            )
        except (ValueError, RuntimeError, KeyError) as error:
            self._forget(lora)
            raise LoraError(f"this LoRA does not fit the base model: {error}") from error
        resident: Tensors = get_peft_model_state_dict(self._unet, adapter_name=lora.shape)
        if resident.keys() != lora.tensors.keys():
            self._forget(lora)
            raise LoraError("this LoRA has other modules than the base model")
        self._unet.requires_grad_(False).eval()
        self._resident[lora.shape] = resident

    def _forget(self, lora: Lora) -> None:
        """Take off what a failed load left behind; the next user finds the UNet as it was."""
        if lora.shape in getattr(self._unet, "peft_config", {}):
            self._unet.delete_adapters(lora.shape)


def parse(data: bytes) -> Lora:
    """Read a .safetensors in diffusers' or kohya's names; only the UNet's part is used.

    Raises LoraError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lora.safetensors"
        path.write_bytes(data)
        try:
            state, alphas, metadata = StableDiffusionPipeline.lora_state_dict(
                str(path), return_lora_metadata=True, local_files_only=True
            )
        except (ValueError, OSError, KeyError) as error:
            raise LoraError(f"this is no LoRA file: {error}") from error
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    if not tensors:
        raise LoraError("this LoRA file holds nothing for a UNet")
    if "lora_A" not in next(iter(tensors)):
        tensors = convert_unet_state_dict_to_peft(tensors)
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in tensors.items())
    described = json.dumps([shapes, alphas, metadata], sort_keys=True, default=str)
    shape = "lora-" + hashlib.sha256(described.encode()).hexdigest()[:12]
    return Lora(shape, tensors, state, alphas or None, metadata or None)
