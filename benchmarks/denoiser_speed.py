"""Measures what oneDNN's layers and merged LoRAs gain in the denoiser of portrait-tiny, on one thread of a CPU.

    OMP_NUM_THREADS=1 python -m benchmarks.denoiser_speed [--turns 9]

| row | work |
|---|---|
| pass of N | a prediction for N pictures of 24 x 24 latents, without a LoRA |
| pass of 1, LoRA | the same with one person's LoRA of rank 16 |
| training step of N | prediction and gradients of the LoRA of train's plan, for N pictures |

Both sides are the same weights, channels-last: once in torch's own layers, with the LoRA beside them, and once as
`shared.models.packed_layers` and `merged_layers` compute them. They take turns; the medians of CPU seconds count.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import patch

import torch
from torch import nn

from functions.generate.diffusion.lora_cache import LoraCache
from functions.generate.diffusion.merged_layers import merge_adapter
from functions.train.lora import add_adapter
from functions.train.plan import TrainingPlan
from shared.models.base_model import DiffusionModel
from shared.models.diffusion import load_model
from shared.models.packed_layers import DirectLinear, PackedConv2d
from shared.settings import ModelSettings
from tests.trained_users import lora

PLAIN: dict[type, type] = {DirectLinear: nn.Linear, PackedConv2d: nn.Conv2d}
RANK, TIME, PASSES = 16, 500, 3  # PASSES: in one turn


def main() -> int:
    """Run both sides in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    turns = parser.parse_args().turns
    settings = ModelSettings(device="cpu", threads=1)
    plain, packed = load_model(settings), load_model(settings)
    for layer in plain.denoiser.modules():
        layer.__class__ = PLAIN.get(type(layer), type(layer))
    print(f"{turns} turns, load {os.getloadavg()[0]:.1f}\n{'':<22}{'torch ms':>10}{'ours ms':>9}{'ratio':>7}")
    for count in (1, 4):
        show(f"pass of {count}", prepare_pass(plain, count), prepare_pass(packed, count), turns)
    with active(plain, merged=False), active(packed, merged=True):
        show("pass of 1, LoRA", prepare_pass(plain, 1), prepare_pass(packed, 1), turns)
    plan = TrainingPlan.for_model(packed.working)
    with add_adapter(plain, plan), add_adapter(packed, plan):
        for count in (2, 4):
            show(f"training step of {count}", prepare_step(plain, count), prepare_step(packed, count), turns)
    return 0


@contextmanager
def active(model: DiffusionModel, merged: bool) -> Iterator[None]:
    """Inside the block, a random LoRA is active on the model, merged into its layers or beside them."""
    cache = LoraCache(model.denoiser, prefix=model.lora_prefix)
    with tempfile.TemporaryDirectory() as folder:
        file = lora(model.denoiser, folder, RANK, scale=0.02)
        one = cache.lora("one", lambda: "etag", lambda: file)
    merge = merge_adapter if merged else lambda layers, name: nullcontext()
    with ExitStack() as stack:
        with patch("functions.generate.diffusion.lora_cache.merge_adapter", merge):
            stack.enter_context(cache.activate([one]))
        yield


def prepare_pass(model: DiffusionModel, count: int) -> Callable[[], object]:
    """Return predictions for a batch."""
    latents, words = torch.randn(count, 8, 24, 24), model.condition("portrait photo of a person").expand(count)

    def run() -> None:
        with torch.inference_mode(), model.reusing():
            for _ in range(PASSES):
                model.predict(latents, torch.tensor(TIME), words)

    return run


def prepare_step(model: DiffusionModel, count: int) -> Callable[[], object]:
    """Return predictions for a batch with the adapter's gradients."""
    latents, words = torch.randn(count, 8, 24, 24), model.condition("portrait photo of a person").expand(count)

    def run() -> None:
        for _ in range(PASSES):
            torch.autograd.backward(model.predict(latents, torch.full((count,), TIME), words).square().mean())

    return run


def show(row: str, plain: Callable[[], object], ours: Callable[[], object], turns: int) -> None:
    """Run both in turns, the first of which does not count, and print the medians of milliseconds for one pass."""
    spent: list[list[float]] = [[], []]
    for _ in range(turns + 1):
        for work, times in zip((plain, ours), spent, strict=True):
            started = time.process_time()
            work()
            times.append(1e3 * (time.process_time() - started) / PASSES)
    theirs, mine = (statistics.median(times[1:]) for times in spent)
    print(f"{row:<22}{theirs:>10.1f}{mine:>9.1f}{theirs / mine:>7.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
