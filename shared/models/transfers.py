"""Tensors on their way between CPU and card: many as one piece, and to the card without the host waiting for it.

A copy tensor by tensor costs a card some ten microseconds each, and a LoRA has 256 to 1,120 of them; one out of memory
that is not pinned holds the host until the card has done all that it was given before.
"""

from collections.abc import Sequence

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on the device; on the CPU the tensor itself."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def sent_together(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Tensors of the CPU on a card, in one copy and of one type that holds them all; on the CPU they themselves."""
    if device.type != "cuda" or not tensors:
        return list(tensors)
    whole = sent(torch.cat([tensor.detach().flatten() for tensor in tensors]), device)
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def fetched(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copies on the CPU of tensors that are on one device, none sharing memory with another."""
    if not tensors or tensors[0].device.type != "cuda":
        return [tensor.detach().to("cpu", copy=True).contiguous() for tensor in tensors]
    whole = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    return [part.view(one.shape).to(one.dtype, copy=True) for part, one in zip(parts, tensors, strict=True)]
