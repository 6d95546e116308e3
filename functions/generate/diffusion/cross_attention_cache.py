"""What the words are to each attention layer of a UNet: the same at every step of a diffusion, so worked out once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

Layer = Callable[..., torch.Tensor]


@contextmanager
def cache_cross_attention(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside of the block keys and values are made of each wording's states once, and what comes out is the same.

    The LoRAs worn, and who of the batch wears which, must not change inside. States are known again by identity.
    """
    crossings = [part for part in unet.modules() if isinstance(part, Attention) and part.is_cross_attention]
    layers = [layer for crossing in crossings for layer in (crossing.to_k, crossing.to_v)]
    before = [vars(layer).get("forward") for layer in layers]  # a mixed batch's
    try:
        for layer in layers:
            vars(layer)["forward"] = _remembering(layer.forward)
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                vars(layer).pop("forward", None)
            else:
                vars(layer)["forward"] = forward


def _remembering(forward: Layer) -> Layer:
    # the states are kept beside what was made of them, so that no other tensor gets their identity
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def once(states: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        if id(states) not in made:
            made[id(states)] = states, forward(states, *others, **named)
        return made[id(states)][1]

    return once
