"""Users' LoRAs on the resident UNet: tensors are copied into adapters that stay, the base's weights are never touched.

| from | event | to |
|---|---|---|
| base | `worn([lora])`, shapes seen before | worn: the adapter of these shapes gets the user's tensors, in place |
| base | `worn([lora])`, new shapes | worn: one more resident adapter; beyond RESIDENT the least lately used one goes |
| base | `worn([lora, another, None])` | each picture of the batch wears its own, see `mixed_batch` |
| worn | the block ends, however | base: adapters disabled, outputs bit-identical to a UNet that never had one |
| base | `evict`, the wearer's object gone or long not asked for | its tensors are gone, the resident ones too |

A LoRA is known by its object's key and etag together: who gets a key that somebody else had is never taken for them.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from peft import get_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from functions.generate.diffusion.lora import Lora, fit_lora
from functions.generate.diffusion.lora_file import LoraError, Tensors, parse_lora
from functions.generate.diffusion.mixed_batch import mixed
from shared.models.expiring_cache import Clock, ExpiringCache
from shared.models.transfers import sent_together

__all__ = ["Lora", "LoraCache", "LoraError", "parse_lora"]

USERS = 32  # of which tensors are kept in memory; 19 MB each for rank 16 on SD 1.5
KEPT_BYTES = 2**30  # of all of them together, where files are large; the last one used is kept however large
RESIDENT = 4  # shapes of adapters kept on the UNet; one per rank that the users were trained with


@dataclass(eq=False)
class ResidentLora:
    """An adapter on the UNet.

    Attributes:
        names, tensors: its parameters, under peft's names without the adapter's.
        wearer: whose values they have; None while they have nobody's, or not all of somebody's.
    """

    names: list[str]
    tensors: list[torch.Tensor]
    wearer: Lora | None = None


class LoraCache:
    """The adapters of a UNet that many users share."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        users: int = USERS,
        resident: int = RESIDENT,
        clock: Clock = time.monotonic,
    ) -> None:
        self._unet, self._most_resident = unet, resident
        self._users: ExpiringCache[tuple[str, str], Lora] = ExpiringCache(users, clock=clock)  # by key and etag
        # no LRUCache: what goes must leave the UNet too, and before its successor comes, and a batch may need more
        self._resident: OrderedDict[str, ResidentLora] = OrderedDict()
        self._layers: list[LoraLayer] = []
        self._active: str | None = None

    def lora(self, key: str, etag: Callable[[], str | None], read: Callable[[], bytes]) -> Lora:
        """The LoRA stored under `key` at this moment.

        Args:
            key: of its object.
            etag: what changes whenever the object does; None where there is none.
            read: gives the file if it is not in memory; may raise, as where there is none.

        Raises LoraError when the file does not fit the UNet.
        """
        before = etag()
        known: Lora | None = None if before is None else self._users.get((key, before))
        if known is not None:
            return known
        self._forget({key})
        lora = fit_lora(parse_lora(read()), self._unet)
        # that it fits is known before any work is done, and not in the middle of it
        self._slot(lora, 0, 1)
        # an object that was replaced while it was read is worn, but not remembered: its etag is not known
        if before is not None and etag() == before:
            self._users[key, before] = lora
            self._make_room()
        return lora

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Forget the LoRAs that nobody asked for in a while, and those whose objects are gone, on the UNet too.

        Args:
            exists: whether there is an object under a key; what it raises passes through.
        """
        try:
            self._users.expire()
            self._forget({key for key in {key for key, _ in self._users} if not exists(key)})
        finally:
            kept = list(self._users.values())
            idle = [name for name, resident in self._resident.items() if resident.wearer not in kept]
            for name in idle:
                self._take_off(name)
            if idle:
                self._survey()

    @contextmanager
    def worn(self, loras: Sequence[Lora | None]) -> Iterator[None]:
        """Inside of the block the pictures of a batch wear these, in their order.

        A batch of any multiple of them repeats the order, as guidance does. None is the bare base.
        """
        names = self._put_on(loras)
        with mixed(self._layers, names) if len(set(names)) > 1 else self._alone(next(iter(names), None)):
            yield

    @contextmanager
    def _alone(self, name: str | None) -> Iterator[None]:
        """Inside of the block all pictures wear this adapter."""
        if name is None:
            yield
            return
        try:
            self._activate(name)
            self._enable(True)
            yield
        finally:
            self._enable(False)

    def _put_on(self, loras: Sequence[Lora | None]) -> list[str | None]:
        """The user's tensors into resident adapters of their shapes; the name of each picture's adapter."""
        different = list(dict.fromkeys(lora for lora in loras if lora is not None))
        slots: dict[Lora | None, str | None] = {None: None}
        taken: Counter[str] = Counter()
        for lora in different:
            name = slots[lora] = self._slot(lora, taken[lora.shape], len(different))
            taken[lora.shape] += 1
            resident = self._resident[name]
            if resident.wearer is not lora:
                resident.wearer = None  # if the copying is interrupted, the tensors are nobody's
                # not by peft.utils.hotswap, which walks the UNet's whole state_dict and then copies tensor by tensor:
                # some 20 ms more than this for the 256 tensors of a LoRA on SD 1.5
                with torch.no_grad():
                    values = [lora.tensors[part] for part in resident.names]
                    torch._foreach_copy_(resident.tensors, sent_together(values, resident.tensors[0].device))
                resident.wearer = lora
        return [slots[lora] for lora in loras]

    def _slot(self, lora: Lora, number: int, wanted: int) -> str:
        """Name of the resident adapter of these shapes, made if it is not there; the `wanted` last used ones stay."""
        name = f"{lora.shape}-{number}"
        if name not in self._resident:
            while len(self._resident) >= max(self._most_resident, wanted):
                self._take_off(next(iter(self._resident)))
            try:
                self._resident[name] = self._added(lora, name)
            finally:
                self._survey()
        self._resident.move_to_end(name)
        return name

    def _added(self, lora: Lora, name: str) -> ResidentLora:
        """One more adapter; whatever goes wrong leaves the UNet without it."""
        try:
            self._unet.add_adapter(lora.config, adapter_name=name)
            tensors: Tensors = get_peft_model_state_dict(self._unet, adapter_name=name)
            if {part: tensor.shape for part, tensor in tensors.items()} != {
                part: tensor.shape for part, tensor in lora.tensors.items()
            }:
                raise LoraError("this LoRA has other modules than the base model")
        except BaseException:
            self._unet.delete_adapters(name)
            raise
        self._unet.requires_grad_(False).eval()
        return ResidentLora(list(tensors), list(tensors.values()))

    def _take_off(self, name: str) -> None:
        del self._resident[name]
        self._unet.delete_adapters(name)

    def _forget(self, keys: set[str]) -> None:
        for entry in [entry for entry in self._users if entry[0] in keys]:
            self._users.pop(entry, None)

    def _make_room(self) -> None:
        """By bytes, of which a cache's own `getsizeof` would refuse a file that is larger than all of them."""
        while len(self._users) > 1 and sum(lora.size for lora in self._users.values()) > KEPT_BYTES:
            self._users.popitem()

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
        """As the layers' `enable_adapters`, which also turns on gradients that nobody wants here."""
        for layer in self._layers:
            layer._disable_adapters = not enabled
