"""Keeps parts of a base model on the GPU only while they are needed, so that other parts have the memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def present(device: torch.device, *parts: torch.nn.Module) -> Iterator[None]:
    """Move the parts to the device for the length of the block, then to the CPU, and release their memory."""
    try:
        for part in parts:
            part.to(device)
        yield
    finally:
        if device.type == "cuda":
            for part in parts:
                part.to("cpu")
            release(device)


def release(device: torch.device) -> None:
    """Return the memory that torch holds in its cache to the GPU: cached pieces cannot serve larger allocations."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
