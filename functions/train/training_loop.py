"""The loop of one training: updates with progress reports, and a validation and a checkpoint every `spacing` steps."""

import math
import time
from dataclasses import dataclass

from functions.train import checkpoint
from functions.train.checkpoint import TrainingCheckpoint
from functions.train.lora import LoraAdapter
from functions.train.loss_history import Curve, LossHistory
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.selection import CheckpointSelection
from functions.train.stopping import EarlyStop, find_overfitting, require_converging, require_finite, require_sane
from functions.train.stopwatch import Stopwatch
from functions.train.training_inputs import TrainingInputs
from functions.train.validation import Evaluation, Validator
from functions.train.validation_pictures import save_pictures
from shared.contract.workspace import Workspace
from shared.errors import TrainingDiverged
from shared.models.base_model import DiffusionModel


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """The outcome of a training loop.

    Attributes:
        selection: the evaluations, and the chosen checkpoint.
        curve: the finite losses by step.
        resumed: the step of the earlier attempt's checkpoint that the loop continued from; 0 for a fresh start.
        first: seconds per stage until the first update was made; empty if no update was left to make.
        stop: why the loop ended before its last step; None if it did not.
        pictures: keys of the validation pictures by step.
    """

    selection: CheckpointSelection
    curve: Curve
    resumed: int
    first: dict[str, float]
    stop: EarlyStop | None
    pictures: dict[int, str]


@dataclass(frozen=True, eq=False)
class TrainingLoop:
    """Everything that the loop of one training works with.

    Attributes:
        model: the base model.
        adapter: on the model's denoiser; the updates train it.
        material: the latents, prompt and loss of the updates.
        plan: the training's settings.
        validator: evaluates each checkpoint.
        workspace: receives progress and checkpoints, and has the earlier attempt's checkpoint.
        watch: measures the stages.
        mark: the training's fingerprint; only an earlier attempt's checkpoint with the same fingerprint is used.
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
        """Make `steps` updates; validate and save a checkpoint after every `spacing` of them and after the last.

        Resumes from the last checkpoint of an earlier attempt, if there is one. Ends early for the reasons in
        `stopping`; the checkpoints made until then count.

        Raises:
            TrainingDiverged: the training diverged before its first checkpoint.
        """
        updates = OptimizerSteps(self.adapter, self.material, self.plan, steps)
        selection, losses = self._resume(updates)
        pictures = {} if selection is None else self._save_pictures(*selection.trials)
        resumed, started = updates.done, time.monotonic()
        first: dict[str, float] = {}
        made, stop = iter(updates), self._overfitting(selection, steps)
        try:
            while stop is None and (update := next(made, None)) is not None:
                first = first or self.watch.so_far("training")
                due = update.step % spacing == 0 or update.step == steps
                losses.add(update, now=due)
                require_converging(losses)
                eta = (time.monotonic() - started) / (update.step - resumed) * (steps - update.step)
                figures = losses.figures() | _describe_latest(selection)
                self.workspace.progress("training", update.step, steps, eta, **figures)
                if due:
                    known = 0 if selection is None else len(selection.trials)
                    selection = self._checkpoint(updates, selection, losses)
                    pictures |= self._save_pictures(*selection.trials[known:])
                    stop = self._overfitting(selection, steps)
        except TrainingDiverged as error:
            if selection is None:
                raise TrainingDiverged(
                    f"the training diverged at step {updates.done}, before its first checkpoint: {error.message}. "
                    "A lower PHOTOG_TRAIN__LEARNING_RATE on the worker prevents it"
                ) from error
            stop = EarlyStop(updates.done, "diverged", error.message)
        assert selection is not None
        curve = [point for point in losses.curve if math.isfinite(point[1])]
        return TrainingRun(selection, curve, resumed, first, stop, pictures)

    def _overfitting(self, selection: CheckpointSelection | None, steps: int) -> EarlyStop | None:
        """Return why the updates that are left would not help; None if they may, and if none is left."""
        if selection is None or selection.trials[-1].step >= steps:
            return None
        return find_overfitting(selection.trials, self.plan.patience)

    def _resume(self, updates: OptimizerSteps) -> tuple[CheckpointSelection | None, LossHistory]:
        """Restore the selection and losses of an earlier attempt, if any; the updates then continue after its last one.

        Without an earlier attempt the selection is None: the base model is evaluated at the first checkpoint, so that
        the first update need not wait for it.
        """
        saved = self.workspace.previous(checkpoint.NAME)
        found = None if saved is None else checkpoint.read_checkpoint(saved, self.mark)
        if found is None:
            return None, LossHistory()
        updates.resume(found.step, found.state)
        return found.selection, LossHistory(found.curve)

    def _checkpoint(
        self, updates: OptimizerSteps, selection: CheckpointSelection | None, losses: LossHistory
    ) -> CheckpointSelection:
        """Evaluate and save a checkpoint and return the selection; the first one evaluates the base model as well.

        Raises:
            TrainingDiverged: its weights or its evaluation are no good; it is neither offered nor saved.
        """
        with self.watch("validation"):
            weights = self.adapter.weights()
            require_finite(weights)
            if selection is None:
                with self.adapter.off():
                    selection = CheckpointSelection(self.validator(0))
            trial = self.validator(updates.done)
            require_sane(trial, selection.trials[0])
            selection.offer(trial, weights)
        with self.watch("checkpoints"):
            state = TrainingCheckpoint(updates.done, updates.state(), selection, losses.curve)
            self.workspace.save(checkpoint.NAME, checkpoint.write_checkpoint(state, self.mark))
        return selection

    def _save_pictures(self, *trials: Evaluation) -> dict[int, str]:
        """Save the pictures of validations, those of an earlier attempt too, and return the keys by step."""
        return {trial.step: save_pictures(trial, self.workspace) for trial in trials}


def _describe_latest(selection: CheckpointSelection | None) -> dict[str, float]:
    """Return the latest validation's step, and its similarity if it has one, for progress reports."""
    if selection is None:
        return {}
    latest = selection.trials[-1]
    return {"validated": latest.step} | ({} if latest.similarity is None else {"likeness": latest.similarity})
