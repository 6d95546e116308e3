"""A cache of cross-attention keys and values: those of a prompt are the same at every step of a diffusion."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

Layer = Callable[..., torch.Tensor]


@contextmanager
def cache_cross_attention(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside the block, compute the keys and values of each prompt only once; outputs stay the same.

    The active LoRAs, and which picture of the batch has which, must not change inside the block. Encoded prompts are
    recognized by the identity of their tensors.
    """
    crossings = [part for part in unet.modules() if isinstance(part, Attention) and part.is_cross_attention]
    layers = [layer for crossing in crossings for layer in (crossing.to_k, crossing.to_v)]
    before = [vars(layer).get("forward") for layer in layers]  # a mixed batch's
    try:
        for layer in layers:
            vars(layer)["forward"] = _cache_by_identity(layer.forward)
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                vars(layer).pop("forward", None)
            else:
                vars(layer)["forward"] = forward


def _cache_by_identity(forward: Layer) -> Layer:
    # the states are kept beside the result, so that no other tensor can get their id
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def compute_once(states: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        if id(states) not in made:
            made[id(states)] = states, forward(states, *others, **named)
        return made[id(states)][1]

    return compute_once
