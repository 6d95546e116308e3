"""Users' LoRAs on the resident UNet: tensors are copied into adapters that stay, the base's weights are never touched.

| from | event | to |
|---|---|---|
| base | `worn([lora])`, shapes seen before | worn: the adapter of these shapes gets the user's tensors, in place |
| base | `worn([lora])`, new shapes | worn: one more resident adapter; beyond RESIDENT the least lately used one goes |
| base | `worn([lora, another, None])` | each picture of the batch wears its own, by peft's mixed batches |
| worn | the block ends, however | base: adapters disabled, outputs bit-identical to a UNet that never had one |
"""

import hashlib
import json
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import get_peft_model_state_dict
from peft.tuners.lora import LoraLayer

USERS = 32  # of which tensors are kept in memory; 19 MB each for rank 16 on SD 1.5
RESIDENT = 4  # shapes of adapters kept on the UNet; one per rank that the users were trained with
PREFIX = "unet."
BARE = "__base__"  # peft's name for a picture of a mixed batch that wears nothing

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


@dataclass(eq=False)
class Resident:
    """An adapter on the UNet.

    Attributes:
        names, tensors: its parameters, under peft's names without the adapter's.
        wearer: whose values they have.
    """

    names: list[str]
    tensors: list[torch.Tensor]
    wearer: Lora


class Adapters:
    """The adapters of a UNet that many users share."""

    def __init__(self, unet: UNet2DConditionModel, users: int = USERS, resident: int = RESIDENT) -> None:
        self._unet, self._most_users, self._most_resident = unet, users, resident
        self._users: OrderedDict[str, Lora] = OrderedDict()
        self._resident: OrderedDict[str, Resident] = OrderedDict()
        self._layers: list[LoraLayer] = []
        self._active: str | None = None

    def lora(self, key: str, read: Callable[[], bytes]) -> Lora:
        """The LoRA stored under `key`; `read` gives the file if it is not in memory.

        Raises LoraError when the file does not fit the UNet.
        """
        if key not in self._users:
            lora = parse(read())
            # that it fits is known before any work is done, and not in the middle of it
            self._slot(lora, 0, 1)
            self._users[key] = lora
            while len(self._users) > self._most_users:
                self._users.popitem(last=False)
        self._users.move_to_end(key)
        return self._users[key]

    @contextmanager
    def worn(self, loras: Sequence[Lora | None]) -> Iterator[None]:
        """Inside of the block the pictures of a batch wear these, in their order.

        A batch of any multiple of them repeats the order, as guidance does. None is the bare base.
        """
        names = self._put_on(loras)
        if all(name == BARE for name in names):
            yield
            return
        mixed = len(set(names)) > 1
        hooks = [layer.register_forward_pre_hook(_naming(names), with_kwargs=True) for layer in self._layers if mixed]
        try:
            if not mixed:
                self._activate(names[0])
            self._enable(True)
            yield
        finally:
            self._enable(False)
            for hook in hooks:
                hook.remove()

    def _put_on(self, loras: Sequence[Lora | None]) -> list[str]:
        """The user's tensors into resident adapters of their shapes; the name of each picture's adapter."""
        different = list(dict.fromkeys(lora for lora in loras if lora is not None))
        slots: dict[Lora | None, str] = {None: BARE}
        taken: Counter[str] = Counter()
        for lora in different:
            name = slots[lora] = self._slot(lora, taken[lora.shape], len(different))
            taken[lora.shape] += 1
            resident = self._resident[name]
            if resident.wearer is not lora:
                with torch.no_grad():
                    torch._foreach_copy_(resident.tensors, [lora.tensors[part] for part in resident.names])
                resident.wearer = lora
        return [slots[lora] for lora in loras]

    def _slot(self, lora: Lora, number: int, wanted: int) -> str:
        """Name of the resident adapter of these shapes, made if it is not there; the `wanted` last used ones stay."""
        name = f"{lora.shape}-{number}"
        if name not in self._resident:
            while len(self._resident) >= max(self._most_resident, wanted):
                oldest, _ = self._resident.popitem(last=False)
                self._unet.delete_adapters(oldest)
            self._resident[name] = self._added(lora, name)
            self._survey()
        self._resident.move_to_end(name)
        return name

    def _added(self, lora: Lora, name: str) -> "Resident":
        try:
            self._unet.load_lora_adapter(
                dict(lora.state),
                prefix="unet",
                adapter_name=name,
                network_alphas=lora.alphas,
                metadata=lora.metadata,
            )
        except (ValueError, RuntimeError, KeyError) as error:
            self._forget(name)
            raise LoraError(f"this LoRA does not fit the base model: {error}") from error
        tensors: Tensors = get_peft_model_state_dict(self._unet, adapter_name=name)
        if tensors.keys() != lora.tensors.keys():
            self._forget(name)
            raise LoraError("this LoRA has other modules than the base model")
        self._unet.requires_grad_(False).eval()
        return Resident(list(tensors), list(tensors.values()), lora)

    def _forget(self, name: str) -> None:
        """Take off what a failed load left behind; the next user finds the UNet as it was."""
        if name in getattr(self._unet, "peft_config", {}):
            self._unet.delete_adapters(name)
        self._survey()

    def _survey(self) -> None:
        """After adding or deleting, which leave any adapter active: find all layers, and have them bare."""
        self._active = None
        self._layers = [module for module in self._unet.modules() if isinstance(module, LoraLayer)]
        self._enable(False)

    def _activate(self, name: str) -> None:
        if name != self._active:
            for layer in self._layers:
                layer.set_adapter(name, inference_mode=True)
            self._active = name

    def _enable(self, enabled: bool) -> None:
        """As the layers' `enable_adapters`, which also walks all parameters for gradients that nobody wants here."""
        for layer in self._layers:
            layer._disable_adapters = not enabled


def _naming(names: list[str]) -> Callable[..., Any]:
    """A hook that tells a layer which picture of its batch wears which adapter."""

    def hook(layer: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return arguments, named | {"adapter_names": names * (len(arguments[0]) // len(names))}

    return hook


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
