"""Train a network that marks something on faces.

Samples are painted into shards on disk, over which the network passes several times.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.imaging.array_types import Mask
from tools.occluder_recipe.continuation import load_exported
from tools.occluder_recipe.unet import INPUTS, OccluderUNet

log = logging.getLogger(__name__)

SHARD = 500  # samples in one file
TARGETS = 2  # planes of a sample that are not the network's input: what is wanted, and its weight


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        samples: how many are seen in all, repetitions included.
        batch: samples in one update.
        rate: the highest learning rate, after a short warm-up; it falls to 0 along a cosine.
        seed: of the network's weights and of the order.
    """

    samples: int = 73_000
    batch: int = 16
    rate: float = 2e-3
    seed: int = 15


class Sample(Protocol):
    """One face.

    Attributes:
        planes: the network's input, (INPUTS, H, W), -1 to 1.
        wanted: the share of each pixel that the network shall find, 0 to 1, (H, W).
        weight: how much each pixel counts, 0 to 1, (H, W).
    """

    @property
    def planes(self) -> NDArray[np.float32]: ...
    @property
    def wanted(self) -> Mask: ...
    @property
    def weight(self) -> Mask: ...


def paint_shards(make_sample: Callable[[np.random.Generator], Sample], folder: Path, count: int, seed: int) -> None:
    """Paint so many shards of samples into a folder; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:04d}.npy"
        if path.exists():
            continue
        rng = np.random.default_rng((seed, number))
        painted = [make_sample(rng) for _ in range(SHARD)]
        stored = np.stack([np.concatenate([one.planes, 2 * np.stack([one.wanted, one.weight]) - 1]) for one in painted])
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.save(file, np.round((stored + 1) * 127.5).clip(0, 255).astype(np.uint8))
        unfinished.rename(path)


def train(
    network: OccluderUNet, shards: Path, held_out: Path, plan: Plan, work: Path, minutes: float | None = None
) -> OccluderUNet:
    """Train on the shards of a folder, and log how well the network does on those of another.

    The checkpoint in `work` is resumed from; `minutes` plans the whole training by time instead of by samples.
    """
    rng = np.random.default_rng(plan.seed)
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), plan.rate, weight_decay=1e-4)
    checkpoint, seen, started, before = work / "network.pt", 0, time.monotonic(), 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        seen, before = int(state["seen"]), float(state["minutes"])
    spent = before
    while (progress := spent / minutes if minutes else seen / plan.samples) < 1:
        files = sorted(shards.glob("*.npy"))
        group = np.load(files[rng.integers(len(files))])
        for start in range(0, len(group) - plan.batch + 1, plan.batch):
            spent = before + (time.monotonic() - started) / 60
            progress = min(spent / minutes if minutes else seen / plan.samples, 1.0)
            warm = min(1.0, (seen + plan.batch) / (60 * plan.batch))
            for settings in optimizer.param_groups:
                settings["lr"] = float(plan.rate * warm * (0.5 + 0.5 * np.cos(np.pi * progress)) + 1e-6)
            if start == 0:
                order = rng.permutation(len(group))
            loss = _update(network, optimizer, group[order[start : start + plan.batch]], rng)
            seen += plan.batch
        log.info("%d samples, %.1f minutes, loss %.4f", seen, spent, loss)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "seen": seen, "minutes": spent}
        torch.save(state, checkpoint)
        if seen // SHARD % 20 == 0:
            log.info("held out: %s", evaluate(network, held_out))
    log.info("held out: %s", evaluate(network, held_out))
    return network.eval()


def _some(folder: Path) -> NDArray[np.uint8]:
    """Return the samples of the first shard of a folder."""
    group: NDArray[np.uint8] = np.load(min(folder.glob("*.npy")))
    return group


def load_start(exported: Path, samples: Path) -> OccluderUNet:
    """Load an exported network to continue its training; it is measured on the samples of a folder."""
    return load_exported(exported, _tensors(_some(samples))[0])


def evaluate(network: OccluderUNet, folder: Path) -> dict[str, float]:
    """Return the share that is found of what is wanted, the share of the rest that is taken for it, and the overlap."""
    network.eval()
    found = missed = wrong = bare = 0.0
    with torch.inference_mode():
        for path in sorted(folder.glob("*.npy")):
            group = np.load(path)
            for start in range(0, len(group), 50):
                planes, wanted, weight = _tensors(group[start : start + 50])
                inside = weight > 0.9
                seen = (network(planes) > 0) & inside
                there = (wanted > 0.5) & inside
                found += float((seen & there).sum())
                missed += float((~seen & there).sum())
                wrong += float((seen & ~there).sum())
                bare += float((~there & inside).sum())
    network.train()
    return {
        "recall": round(found / (found + missed), 4),
        "false": round(wrong / bare, 5),
        "overlap": round(found / (found + missed + wrong), 4),
    }


def _update(
    network: OccluderUNet, optimizer: torch.optim.Optimizer, batch: NDArray[np.uint8], rng: np.random.Generator
) -> float:
    planes, wanted, weight = _tensors(batch)
    if rng.random() < 0.5:
        planes, wanted, weight = (plane.flip(3) for plane in (planes, wanted, weight))
    colors = planes[:, :3]
    gains = torch.from_numpy(rng.normal(0, 0.06, (len(batch), 3, 1, 1)).astype(np.float32)).exp()
    offsets = torch.from_numpy(rng.normal(0, 0.08, (len(batch), 1, 1, 1)).astype(np.float32))
    planes = torch.cat([((colors + 1) * gains - 1 + offsets).clamp(-1, 1), planes[:, 3:]], dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(planes.contiguous(memory_format=torch.channels_last)).float()
    every = functional.binary_cross_entropy_with_logits(logits, wanted, weight=weight, reduction="sum")
    share = torch.sigmoid(logits) * weight
    both = (share * wanted).sum(dim=(1, 2, 3))
    overlap = (2 * both + 30) / (share.sum(dim=(1, 2, 3)) + (wanted * weight).sum(dim=(1, 2, 3)) + 30)
    loss = every / weight.sum() + 0.3 * (1 - overlap).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _tensors(batch: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return planes, wanted shares and weights of stored samples."""
    values = torch.from_numpy(batch).float()
    assert values.shape[1] == INPUTS + TARGETS
    return values[:, :INPUTS] / 127.5 - 1, values[:, INPUTS : INPUTS + 1] / 255, values[:, INPUTS + 1 :] / 255
