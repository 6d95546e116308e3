"""The course of one training: updates, progress, and every now and then a validation and a checkpoint."""

import math
import time
from dataclasses import dataclass

from functions.train import checkpoint
from functions.train.checkpoint import TrainingCheckpoint
from functions.train.lora import LoraAdapter, is_finite
from functions.train.loss_history import Curve, LossHistory
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.selection import CheckpointSelection
from functions.train.stopwatch import Stopwatch
from functions.train.training_inputs import TrainingInputs
from functions.train.validation import Validator
from shared.contract.workspace import Workspace
from shared.errors import InternalError
from shared.models.diffusion import DiffusionModel


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A course that was run.

    Attributes:
        resumed: the step of an earlier attempt that it went on from; 0 for none.
        first: seconds per stage until the first update was made; empty where none was left to make.
    """

    selection: CheckpointSelection
    curve: Curve
    resumed: int
    first: dict[str, float]


@dataclass(frozen=True, eq=False)
class TrainingLoop:
    """What one training has at hand.

    Attributes:
        mark: the training's fingerprint; an earlier attempt's checkpoint must have the same.
    """

    model: DiffusionModel
    adapter: LoraAdapter
    material: TrainingInputs
    plan: TrainingPlan
    validator: Validator
    workspace: Workspace
    watch: Stopwatch
    mark: str

    def run(self, steps: int, spacing: int) -> TrainingRun:
        """Make all updates; validate after every `spacing` of them and after the last.

        Goes on from the last checkpoint of an earlier attempt where there is one. Ends early when the loss is no
        number any more; the checkpoints until then count. InternalError where there is none.
        """
        updates = OptimizerSteps(self.model.unet, self.adapter, self.material, self.plan, steps)
        selection, losses = self._begun(updates)
        resumed, started = updates.done, time.monotonic()
        first: dict[str, float] = {}
        for update in updates:
            first = first or self.watch.so_far("training")
            due = update.step % spacing == 0 or update.step == steps
            losses.add(update, now=due)
            if losses.read is not None and not math.isfinite(losses.read):
                break
            eta = (time.monotonic() - started) / (update.step - resumed) * (steps - update.step)
            self.workspace.progress("training", update.step, steps, eta, **losses.figures())
            if due:
                selection = self._checkpoint(updates, selection, losses)
        if selection is None:
            raise InternalError("the training ran away before its first checkpoint: the loss is no number any more")
        return TrainingRun(selection, [point for point in losses.curve if math.isfinite(point[1])], resumed, first)

    def _begun(self, updates: OptimizerSteps) -> tuple[CheckpointSelection | None, LossHistory]:
        """What there is of an earlier attempt's work. Nothing is judged yet: the first update need not wait for it."""
        saved = self.workspace.previous(checkpoint.NAME)
        found = None if saved is None else checkpoint.read_checkpoint(saved, self.mark)
        if found is None:
            return None, LossHistory()
        updates.resume(found.step, found.state)
        return found.selection, LossHistory(found.curve)

    def _checkpoint(
        self, updates: OptimizerSteps, selection: CheckpointSelection | None, losses: LossHistory
    ) -> CheckpointSelection | None:
        """The selection with this checkpoint in it; at the first one the base model is judged, too."""
        with self.watch("validation"):
            weights = self.adapter.weights()
            if not is_finite(weights):
                return selection
            if selection is None:
                with self.adapter.off():
                    selection = CheckpointSelection(self.validator(0))
            selection.offer(self.validator(updates.done), weights)
        with self.watch("checkpoints"):
            state = TrainingCheckpoint(updates.done, updates.state(), selection, losses.curve)
            self.workspace.save(checkpoint.NAME, checkpoint.write_checkpoint(state, self.mark))
        return selection
