"""The course of one training: updates, progress, and at every checkpoint a validation."""

import math
import time
from dataclasses import dataclass

import torch

from functions.train.lora import Adapter, finite
from functions.train.material import Material
from functions.train.plan import TrainingPlan
from functions.train.selection import Selection
from functions.train.stopwatch import Stopwatch
from functions.train.updates import Update, updates
from functions.train.validation import Validator
from shared.models.diffusion import DiffusionModel
from shared.workspace import Workspace

LOSS_EVERY = 10  # steps; reading the loss waits for the device


@dataclass(frozen=True, eq=False)
class Course:
    """What one training has at hand."""

    model: DiffusionModel
    adapter: Adapter
    material: Material
    plan: TrainingPlan
    validator: Validator
    workspace: Workspace
    watch: Stopwatch

    def run(self, steps: int, spacing: int) -> Selection:
        """Make all updates; validate before the first, after every `spacing` of them and after the last.

        Ends early when the loss is no number any more; the checkpoints until then count.
        """
        self.workspace.progress("validation", 0, steps)
        with self.watch("validation"):
            selection = Selection(self.validator(0))
        loss, started = _Loss(), time.monotonic()
        for update in updates(self.model.unet, self.adapter, self.material, self.plan, steps):
            loss.add(update, last=update.step == steps)
            if loss.read is not None and not math.isfinite(loss.read):
                break
            eta = (time.monotonic() - started) / update.step * (steps - update.step)
            self.workspace.progress("training", update.step, steps, eta, **loss.figures())
            if update.step % spacing == 0 or update.step == steps:
                self._checkpoint(update.step, selection)
        return selection

    def _checkpoint(self, step: int, selection: Selection) -> None:
        with self.watch("validation"):
            weights = self.adapter.weights()
            if finite(weights):
                selection.offer(self.validator(step), weights)


class _Loss:
    """The mean loss of the last steps, read from the device now and then only.

    Attributes:
        read: the last mean; None before the first.
    """

    def __init__(self) -> None:
        self.read: float | None = None
        self._unread: list[torch.Tensor] = []

    def add(self, update: Update, last: bool) -> None:
        self._unread.append(update.loss)
        if len(self._unread) == LOSS_EVERY or last:
            self.read = float(torch.stack(self._unread).mean())
            self._unread = []

    def figures(self) -> dict[str, float]:
        return {} if self.read is None else {"loss": self.read}
