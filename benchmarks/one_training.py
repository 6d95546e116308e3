"""Runs one training in this process and times its optimizer steps: a diffusers script, our trainer, or a bare loop.

    python -m benchmarks.one_training script PATH ARGUMENT...     an unmodified example script
    python -m benchmarks.one_training ours BASE PHOTOS STEPS RANK
    python -m benchmarks.one_training bare BASE PHOTOS STEPS RANK   forward, backward, step on ready tensors

It takes turns with other processes: after its first optimizer step, and then after every `TURN` steps, it prints a line
of JSON and waits for a line on standard input. The first line says how long everything up to the first step took, the
line after a turn how long each of its steps took from the end of the step before without the waits, and the last line
the peak memory in MB.
"""

import json
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.torchvision_stand_in import stand_in
from functions.train.dataset import prepare_dataset
from functions.train.lora import add_adapter
from functions.train.loss_history import LossHistory
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.training_inputs import TrainingInputs, embed_prompts, prepare_inputs
from shared.faces.loading import load_engine
from shared.models.diffusion import DiffusionModel, load_model
from shared.settings import FaceSettings, Limits, ModelSettings
from tests.fake_workspace import FakeWorkspace

TURN = 3  # steps; few, so that other load on the machine affects all competitors equally


class Turns:
    """Times optimizer steps, and waits after each turn so that another process can run."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._gaps: list[float] = []
        self._first = True

    def record_step(self) -> None:
        """Record the end of an optimizer step; at the end of a turn, report and wait for the next turn."""
        self._gaps.append(time.perf_counter() - self._last)
        if self._first or len(self._gaps) == TURN:
            say({"first": self._gaps[0]} if self._first else {"gaps": self._gaps})
            sys.stdin.readline()
            self._first, self._gaps = False, []
        self._last = time.perf_counter()


def main() -> int:
    """Run the training that the arguments name, in turns."""
    turns, step = Turns(), torch.optim.AdamW.step

    def timed(self: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        result = step(self, *arguments, **options)
        turns.record_step()
        return result

    torch.optim.AdamW.step = timed  # type: ignore[method-assign, assignment]
    kind, rest = sys.argv[1], sys.argv[2:]
    if kind == "script":
        stand_in()
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")
    else:
        ours(Path(rest[0]), Path(rest[1]), int(rest[2]), int(rest[3]), bare=kind == "bare")
    say({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
    return 0


def say(line: dict[str, Any]) -> None:
    """Print a line of JSON for the process that hands out the turns."""
    print(json.dumps(line), flush=True)


def ours(base: Path, photos: Path, steps: int, rank: int, bare: bool) -> None:
    """Run our updates at batch 1, or with `bare` the minimum that any trainer of this UNet must do."""
    model = load_model(ModelSettings(path=str(base), device="cpu"))
    files = {path.name: path.read_bytes() for path in sorted(photos.iterdir())}
    plan = TrainingPlan(rank=rank, alpha=rank, batch=1)
    data = prepare_dataset(list(files), FakeWorkspace(files), load_engine(FaceSettings()), model.working, Limits())
    learned = prepare_inputs(model, dict(enumerate(data.photos)), embed_prompts(model).prompt, plan, steps)
    with add_adapter(model, plan) as adapter:
        if bare:
            loop(model, adapter.parameters, learned, steps)
            return
        losses = LossHistory()
        for update in OptimizerSteps(adapter, learned, plan, steps):
            losses.add(update, now=False)


def loop(model: DiffusionModel, parameters: list[torch.nn.Parameter], learned: TrainingInputs, steps: int) -> None:
    """Run forward pass, backward pass and optimizer step on a tensor that is ready."""
    optimizer = torch.optim.AdamW(parameters, fused=True)
    latents, times = learned.cache.latents.mean[:1].clone(), torch.tensor([500])
    for _ in range(steps):
        loss = model.predict(latents, times, learned.words).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


if __name__ == "__main__":
    sys.exit(main())
