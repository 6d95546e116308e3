"""Ends a training before its last step: because more steps do not help, or because it has diverged.

| what a training shows | it ends with | what is kept |
|---|---|---|
| `patience` checkpoints without a rise in likeness, and a rising held-out loss | `overfitting` | the best checkpoint |
| a loss, weights or pictures that are not finite, or a loss that has exploded | `diverged` | the best one before that |
| the same before the first checkpoint | the error `TrainingDiverged` | nothing |

All of this depends only on evaluations and losses that the checkpoint file holds, so a resumed training ends at the
same step as one that was never interrupted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from functions.train.lora import Weights, is_finite
from functions.train.loss_history import LossHistory
from functions.train.validation import Evaluation
from shared.errors import TrainingDiverged

DIVERGED = 2.0  # held-out loss over the base model's; the trainings of benchmarks/training_pays.py end at 0.79 to 0.96
GROWN = 3.0  # loss over the first updates' loss; means over 20 updates of a healthy training differ by a fifth


@dataclass(frozen=True)
class EarlyStop:
    """The end of a training before its last step.

    Attributes:
        step: number of updates that were made.
        reason: `overfitting` or `diverged`.
        message: why, with figures, for the sender.
    """

    step: int
    reason: Literal["overfitting", "diverged"]
    message: str


def find_overfitting(trials: Sequence[Evaluation], patience: int) -> EarlyStop | None:
    """Return why the training should end after the last of these evaluations; None if it should go on.

    It should end when the last `patience` checkpoints look no more like the person than an earlier evaluation and the
    held-out loss is above its earlier minimum. Without held-out photos, without any face, and with a patience of 0 it
    goes on.

    Args:
        trials: the evaluation of the base model, then that of every checkpoint.
        patience: number of checkpoints.
    """
    if patience == 0 or len(trials) <= patience:
        return None
    earlier, recent = [[trial.similarity or 0.0 for trial in part] for part in (trials[:-patience], trials[-patience:])]
    best, last = max(earlier), trials[-1]
    lowest = min((trial.held_out_loss for trial in trials if trial.held_out_loss is not None), default=None)
    if best == 0.0 or max(recent) > best or lowest is None or last.held_out_loss is None:
        return None
    if last.held_out_loss <= lowest:
        return None
    return EarlyStop(
        last.step,
        "overfitting",
        f"the likeness has not risen above {best:.2f} for {patience} checkpoints, and the loss on the held-out photos "
        f"is {last.held_out_loss / lowest - 1:.1%} above its minimum: more steps would not help",
    )


def require_converging(losses: LossHistory) -> None:
    """Raise TrainingDiverged if the losses are no longer finite, or far above those of the first updates."""
    if losses.latest is not None and not math.isfinite(losses.latest):
        raise TrainingDiverged("the loss is no longer finite")
    growth = losses.growth()
    if growth is not None and growth > GROWN:
        raise TrainingDiverged(f"the loss is {growth:.1f} times that of the first updates")


def require_finite(weights: Weights) -> None:
    """Raise TrainingDiverged if a weight is not finite."""
    if not is_finite(weights):
        raise TrainingDiverged("the adapter's weights are no longer finite")


def require_sane(trial: Evaluation, base: Evaluation) -> None:
    """Raise TrainingDiverged if a checkpoint's held-out loss is not finite, or far above the base model's."""
    loss, before = trial.held_out_loss, base.held_out_loss
    if loss is None or not before:
        return
    if not loss <= DIVERGED * before:  # nor is NaN
        raise TrainingDiverged(f"the loss on the held-out photos is {loss:.3g}, the base model's was {before:.3g}")
