"""Parts of a base model that are on the card only while they are needed, so that others have the room."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def present(device: torch.device, *parts: torch.nn.Module) -> Iterator[None]:
    """Inside of the block the parts are on the device, afterwards on the CPU, with nothing of theirs left reserved."""
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
    """Give back what torch keeps reserved of memory that nothing lives in: pieces of it fit nothing larger."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
