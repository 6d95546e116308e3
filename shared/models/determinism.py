"""Settings that make a GPU compute the same bytes from the same seed; the CPU does so by default."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.utils.deterministic

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")  # those for which NVIDIA promises reproducible cuBLAS results; the first is faster


def prepare(device: torch.device) -> None:
    """Set cuBLAS's workspace; call it before the first matrix product on a GPU, when cuBLAS reads its settings."""
    if device.type == "cuda" and os.environ.get(WORKSPACE) not in WORKSPACES:
        os.environ[WORKSPACE] = WORKSPACES[0]


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make a GPU reproduce its results bit for bit within the block.

    No kernel is chosen by timing, and no sum is taken in arbitrary order. This is torch's strict mode: in its
    warn-only mode the backward pass of attention would still use unordered sums. Every operation of a UNet and an
    autoencoder has a deterministic kernel, forward and backward; diffusers' tests run them the same way
    (`diffusers.utils.testing_utils.enable_full_determinism`).
    """
    if device.type != "cuda":
        yield
        return
    cudnn, filling = torch.backends.cudnn, cast(Any, torch.utils.deterministic)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, filled = cudnn.benchmark, filling.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = False
    filling.fill_uninitialized_memory = False  # filling takes time, and nothing here reads uninitialized memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, filling.fill_uninitialized_memory = benchmark, filled
