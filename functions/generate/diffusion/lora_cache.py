"""Users' LoRAs on the resident denoiser: copied into resident adapters; the base model's weights are never changed.

| from | event | to |
|---|---|---|
| base | `activate([lora])`, known shape | active: the user's tensors are copied into the adapter of this shape |
| base | `activate([lora])`, new shape | active: a new adapter; beyond RESIDENT, the least recently used is deleted |
| base | `activate([lora, another, None])` | active: a LoRA for each picture of the batch, by `mixed_batch` |
| active | the block ends, also by an exception | base: adapters disabled, outputs bit-identical to a bare denoiser |
| base | `evict`, the LoRA's object is gone or was not used for long | its tensors are dropped, in the adapters too |

A LoRA is identified by its object's key and etag together: if a key is used again for another person, the old LoRA is
not taken for the new one.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import ModelMixin
from peft import get_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from functions.generate.diffusion.lora import Lora, fit_lora
from functions.generate.diffusion.lora_file import LoraError, Tensors, parse_lora
from functions.generate.diffusion.merged_layers import merge_adapter
from functions.generate.diffusion.mixed_batch import mix_adapters
from shared.models.expiring_cache import Clock, ExpiringCache
from shared.models.transfers import copy_all_to_device

__all__ = ["Lora", "LoraCache", "LoraError", "parse_lora"]

USERS = 32  # whose tensors are kept in memory; 19 MB each for rank 16 on SD 1.5
KEPT_BYTES = 2**30  # limit of all kept tensors together; the last one used is kept however large it is
RESIDENT = 4  # adapters kept on the denoiser, one per shape; usually one per rank that users were trained with


@dataclass(eq=False)
class ResidentLora:
    """A resident adapter on the denoiser.

    Attributes:
        names, tensors: its parameters, by peft's names without the adapter's name.
        loaded: the LoRA whose values they have; None before one is copied completely.
    """

    names: list[str]
    tensors: list[torch.Tensor]
    loaded: Lora | None = None


class LoraCache:
    """The LoRAs of many users on one denoiser.

    Args:
        denoiser: the base model's denoiser; only this class may change its adapters.
        users: number of users whose tensors are kept in memory.
        resident: number of adapters kept on the denoiser.
        clock: replaced in tests.
        prefix: what diffusers' names begin with for this denoiser; None accepts all.
        unadaptable: beginnings of names of modules that no LoRA may adapt, see `DiffusionModel.unadaptable`.
    """

    def __init__(
        self,
        denoiser: ModelMixin,
        users: int = USERS,
        resident: int = RESIDENT,
        clock: Clock = time.monotonic,
        prefix: str | None = None,
        unadaptable: tuple[str, ...] = (),
    ) -> None:
        self._denoiser, self._most_resident, self._prefix = denoiser, resident, prefix
        self._unadaptable = unadaptable
        self._users: ExpiringCache[tuple[str, str], Lora] = ExpiringCache(users, clock=clock)  # by key and etag
        # not an LRUCache: a dropped adapter must leave the denoiser too, before the new one is added, and a batch may
        # need more than the limit
        self._resident: OrderedDict[str, ResidentLora] = OrderedDict()
        self._layers: list[LoraLayer] = []
        self._active: str | None = None

    def lora(self, key: str, etag: Callable[[], str | None], read: Callable[[], bytes]) -> Lora:
        """Return the LoRA that is now stored under `key`.

        Args:
            key: key of its object.
            etag: returns the object's etag, which changes whenever the object does; None if there is no object.
            read: returns the file's bytes; called if the LoRA is not in memory, and may raise if there is no object.

        Raises:
            LoraError: the file is not a LoRA, or does not fit the denoiser.
        """
        before = etag()
        known: Lora | None = None if before is None else self._users.get((key, before))
        if known is not None:
            return known
        self._drop({key})
        lora = fit_lora(parse_lora(read()), self._denoiser, self._prefix, self._unadaptable)
        # adds the adapter now, so that a LoRA that does not fit is found before any work is done
        self._slot(lora, 0, 1)
        # if the object was replaced while it was read, the LoRA is used but not kept: its etag is not known
        if before is not None and etag() == before:
            self._users[key, before] = lora
            self._limit_memory()
        return lora

    def has(self, key: str, etag: str) -> bool:
        """Return whether the LoRA of an object is in memory; any thread may ask."""
        return (key, etag) in self._users

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop LoRAs that have not been used for a while or whose objects are gone, from the denoiser too.

        Args:
            exists: whether the bucket has an object with this key; what it raises is not caught.
        """
        try:
            self._users.expire()
            self._drop({key for key in {key for key, _ in self._users} if not exists(key)})
        finally:
            kept = list(self._users.values())
            idle = [name for name, resident in self._resident.items() if resident.loaded not in kept]
            for name in idle:
                self._delete_adapter(name)
            if idle:
                self._find_layers()

    @contextmanager
    def activate(self, loras: Sequence[Lora | None]) -> Iterator[None]:
        """Inside the block, use these LoRAs for the pictures of a batch, in this order.

        Args:
            loras: one per picture; None uses the base model alone. In a batch that is a multiple as large, as with
                guidance, the order repeats.
        """
        names = self._copy_in(loras)
        with mix_adapters(self._layers, names) if len(set(names)) > 1 else self._alone(next(iter(names), None)):
            yield

    @contextmanager
    def _alone(self, name: str | None) -> Iterator[None]:
        """Inside the block, all pictures use this adapter."""
        if name is None:
            yield
            return
        try:
            self._activate(name)
            self._enable(True)
            with merge_adapter(self._layers, name):
                yield
        finally:
            self._enable(False)

    def _copy_in(self, loras: Sequence[Lora | None]) -> list[str | None]:
        """Copy the LoRAs' tensors into resident adapters of their shapes, and return each picture's adapter name."""
        different = list(dict.fromkeys(lora for lora in loras if lora is not None))
        slots: dict[Lora | None, str | None] = {None: None}
        taken: Counter[str] = Counter()
        for lora in different:
            name = slots[lora] = self._slot(lora, taken[lora.shape], len(different))
            taken[lora.shape] += 1
            resident = self._resident[name]
            if resident.loaded is not lora:
                resident.loaded = None  # in case the copying is interrupted
                # not by peft.utils.hotswap, which walks the denoiser's whole state_dict and then copies tensor by
                # tensor: about 20 ms slower for the 256 tensors of a LoRA on SD 1.5
                with torch.no_grad():
                    values = [lora.tensors[part] for part in resident.names]
                    torch._foreach_copy_(resident.tensors, copy_all_to_device(values, resident.tensors[0].device))
                resident.loaded = lora
        return [slots[lora] for lora in loras]

    def _slot(self, lora: Lora, number: int, wanted: int) -> str:
        """Return the name of a resident adapter of the LoRA's shape, and add the adapter if it is missing.

        Args:
            lora: the LoRA to make room for.
            number: which of several adapters of the same shape, from 0.
            wanted: number of adapters that the batch needs at once; so many of the last used ones are kept.
        """
        name = f"{lora.shape}-{number}"
        if name not in self._resident:
            while len(self._resident) >= max(self._most_resident, wanted):
                self._delete_adapter(next(iter(self._resident)))
            try:
                self._resident[name] = self._add_adapter(lora, name)
            finally:
                self._find_layers()
        self._resident.move_to_end(name)
        return name

    def _add_adapter(self, lora: Lora, name: str) -> ResidentLora:
        """Add an adapter to the denoiser; after any failure the denoiser is left without it."""
        try:
            self._denoiser.add_adapter(lora.config, adapter_name=name)
            tensors: Tensors = get_peft_model_state_dict(self._denoiser, adapter_name=name)
            if {part: tensor.shape for part, tensor in tensors.items()} != {
                part: tensor.shape for part, tensor in lora.tensors.items()
            }:
                raise LoraError("this LoRA does not fit the base model: its modules are not those of the denoiser")
        except BaseException:
            self._denoiser.delete_adapters(name)
            raise
        self._denoiser.requires_grad_(False).eval()
        return ResidentLora(list(tensors), list(tensors.values()))

    def _delete_adapter(self, name: str) -> None:
        del self._resident[name]
        self._denoiser.delete_adapters(name)

    def _drop(self, keys: set[str]) -> None:
        for entry in [entry for entry in self._users if entry[0] in keys]:
            self._users.pop(entry, None)

    def _limit_memory(self) -> None:
        """Drop the least recently used LoRAs beyond KEPT_BYTES.

        A cache's `getsizeof` would not do: it refuses a file that alone is larger than the limit.
        """
        while len(self._users) > 1 and sum(lora.size for lora in self._users.values()) > KEPT_BYTES:
            self._users.popitem()

    def _find_layers(self) -> None:
        """Find all LoRA layers and disable them; needed after adding or deleting, which may leave an adapter active."""
        self._active = None
        self._layers = [module for module in self._denoiser.modules() if isinstance(module, LoraLayer)]
        self._enable(False)

    def _activate(self, name: str) -> None:
        if name != self._active:
            for layer in self._layers:
                layer.set_adapter(name, inference_mode=True)
            self._active = name

    def _enable(self, enabled: bool) -> None:
        """Enable or disable all LoRA layers; their `enable_adapters` would also turn on gradients."""
        for layer in self._layers:
            layer._disable_adapters = not enabled
