"""Copies of tensors between CPU and GPU: many in one piece, and to the GPU without waiting for it.

Each copy costs some ten microseconds, and a LoRA has 256 to 1,120 tensors. A copy from memory that is not pinned makes
the host wait until the GPU has finished all work that was queued before.
"""

from collections.abc import Sequence

import torch


def copy_to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to the device without waiting; returns the tensor itself if the device is the CPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def copy_all_to_device(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Copy CPU tensors to a GPU in one piece, in a common type; returns the tensors themselves for the CPU."""
    if device.type != "cuda" or not tensors:
        return list(tensors)
    whole = copy_to_device(torch.cat([tensor.detach().flatten() for tensor in tensors]), device)
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def copy_all_to_cpu(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copy tensors of one device to the CPU; no two copies share memory."""
    if not tensors or tensors[0].device.type != "cuda":
        return [tensor.detach().to("cpu", copy=True).contiguous() for tensor in tensors]
    whole = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    return [part.view(one.shape).to(one.dtype, copy=True) for part, one in zip(parts, tensors, strict=True)]
