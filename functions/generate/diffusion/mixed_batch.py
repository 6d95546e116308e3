"""A batch of which each picture wears its own adapter, or none.

peft's own mixed batches (`adapter_names`) find each adapter's pictures by a Python list, in every layer anew: each list
is copied to a card while the host waits, two for each person and layer, some thousand times in a short diffusion.
Here the places are sent once. What is computed is the same, to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from peft.tuners.lora import LoraLayer

from shared.models.transfers import copy_to_device

Places = dict[str, torch.Tensor]  # indices of the pictures that wear each adapter


@contextmanager
def mix_adapters(layers: Sequence[LoraLayer], names: Sequence[str | None]) -> Iterator[None]:
    """Inside of the block each layer applies to a batch's pictures the adapters of these names, in their order.

    A batch of any multiple of them repeats the order. None is the bare layer.
    """
    places = _cache_places(names)
    try:
        for layer in layers:
            vars(layer)["forward"] = _mix_in(layer, places)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _cache_places(names: Sequence[str | None]) -> Callable[[int, torch.device], Places]:
    """What gives the places in a batch of so many pictures, on the device where that is."""
    known: dict[tuple[int, torch.device], Places] = {}

    def places(count: int, device: torch.device) -> Places:
        if (count, device) not in known:
            worn = list(names) * (count // len(names))
            known[count, device] = {
                name: copy_to_device(torch.tensor([place for place, one in enumerate(worn) if one == name]), device)
                for name in dict.fromkeys(worn)
                if name is not None
            }
        return known[count, device]

    return places


def _mix_in(layer: LoraLayer, places: Callable[[int, torch.device], Places]) -> Callable[..., torch.Tensor]:
    def forward(states: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        made: torch.Tensor = layer.base_layer(states, *others, **named)
        for name, where in places(len(states), states.device).items():
            if name in layer.lora_A:
                down, up = layer.lora_A[name], layer.lora_B[name]
                own = up(down(states[where].to(down.weight.dtype))) * layer.scaling[name]
                made[where] += own.to(made.dtype)
        return made

    return forward
