"""The state of a training on disk, with the moving average of its weights, so that a run can be interrupted anytime."""

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn


class RecipeCheckpoint:
    """Saves and restores model, optimizer, averaged weights and step; call `average` once per step.

    Args:
        path: the checkpoint's file.
        model: the model in training.
        optimizer: its optimizer.
        averaging: decay per step of the weights' moving average, which is what the pipeline ships.
    """

    def __init__(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, averaging: float) -> None:
        self.path, self.model, self.optimizer, self._averaging = path, model, optimizer, averaging
        self.averaged: Any = copy.deepcopy(model).eval().requires_grad_(False)
        self._steps = 0

    def resume(self) -> int:
        """Load the checkpoint and return the step to continue from; 0 if there is no checkpoint."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._steps = int(state["step"])
        return self._steps

    def save(self, step: int) -> None:
        """Write to another file and rename it, so that an interruption leaves the previous checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step,
        }
        staged = self.path.with_suffix(".staged")
        torch.save(state, staged)
        staged.replace(self.path)

    @torch.no_grad()
    def average(self) -> None:
        """Move the average towards the model; faster in the first steps, when the weights change most."""
        self._steps += 1
        decay = min(self._averaging, (1 + self._steps) / (10 + self._steps))
        current = self.model.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def cosine(step: int, steps: int, warm_up: int = 100) -> float:
    """Return the learning rate's factor at a step: a linear rise times half a cosine down to 2 %."""
    rise = min(1.0, (step + 1) / warm_up)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))))
