"""The same seed, the same bytes: what a card must be told for that, which the CPU does by itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.utils.deterministic

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")  # with which NVIDIA promises the same results of cuBLAS; the first is the faster one


def prepare(device: torch.device) -> None:
    """Before the first product on a card, which reads its library's settings once."""
    if device.type == "cuda" and os.environ.get(WORKSPACE) not in WORKSPACES:
        os.environ[WORKSPACE] = WORKSPACES[0]


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Inside of the block a card repeats itself bit for bit: no kernel chosen by timing, no sums in any order.

    Strict and not with warnings only, with which torch's attention keeps its unordered sums going backward. All that a
    UNet and an autoencoder do forward and backward has a deterministic kernel: diffusers' own tests run them so
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
    filling.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, filling.fill_uninitialized_memory = benchmark, filled
