"""Selects the checkpoint to keep: the one whose validation pictures look most like the person.

Its similarity is reduced by what counts against a checkpoint: pictures that copy a training photo, a held-out loss that
has begun to rise, and pictures that all look the same. Some checkpoint is always kept.
"""

from dataclasses import dataclass

from functions.train.lora import Weights
from functions.train.validation import Evaluation, measure_change

UNMOVED = 0.5  # levels of 255; rounding hides a smaller effect of the adapter
COPY_FREE = 0.05  # similarity; two photos of a person differ by more than this in their similarity to a third one
NARROW = 0.5  # of the base model's diversity: one person varies less than all people, but half of it is pose and light
OVERTRAINED = 0.05  # relative rise of the held-out loss from which the sender is warned


@dataclass(frozen=True, eq=False)
class ChosenCheckpoint:
    """A checkpoint's evaluation and its weights."""

    trial: Evaluation
    weights: Weights


class CheckpointSelection:
    """Keeps the best checkpoint so far and the last one: at most two in memory, however many are offered.

    Attributes:
        trials: the evaluation of the base model, then that of every checkpoint.
        best: the checkpoint with the highest score; None before one has a score.
        last: the checkpoint that was offered last; None before the first.
    """

    def __init__(self, base: Evaluation) -> None:
        self.trials = [base]
        self.best: ChosenCheckpoint | None = None
        self.last: ChosenCheckpoint | None = None

    def offer(self, trial: Evaluation, weights: Weights) -> None:
        """Add a checkpoint's evaluation; keep its weights as the last ones, and as the best if its score is highest."""
        self.trials.append(trial)
        self.last = ChosenCheckpoint(trial, weights)
        score = self.score(trial)
        best = self.score(self.best.trial) if self.best else None
        if score is not None and (best is None or score > best):
            self.best = self.last

    def score(self, trial: Evaluation) -> float | None:
        """Return the similarity minus the penalties for copying, rise and uniformity; None if no picture has a face."""
        if trial.similarity is None:
            return None
        copied = max(0.0, (trial.copying or 0.0) - COPY_FREE)
        return trial.similarity - copied - self.rise(trial) - self._lost_diversity(trial)

    def rise(self, trial: Evaluation) -> float:
        """Return how far the held-out loss is above its earlier minimum, as a share of that minimum; 0 if it is not."""
        before = [one.held_out_loss for one in self.trials if one.step < trial.step and one.held_out_loss]
        if trial.held_out_loss is None or not before:
            return 0.0
        return max(0.0, trial.held_out_loss / min(before) - 1)

    @property
    def chosen(self) -> ChosenCheckpoint | None:
        """The checkpoint with the best score, or the last one if no validation picture has a face; None before any."""
        return self.best or self.last

    def warnings(self) -> list[str]:
        """Return warnings about the choice, for the sender."""
        base, chosen = self.trials[0], self.chosen
        if chosen is None:
            return []
        warnings = []
        before, after = base.similarity, chosen.trial.similarity
        if after is None:
            warnings.append("no face was found in any validation picture: the last checkpoint was kept, unjudged")
        elif before is not None and after <= before:
            warnings.append(
                f"no checkpoint looks more like the person ({after:.2f}) than the base model ({before:.2f})"
            )
        moved = measure_change(base, chosen.trial)
        if moved < UNMOVED:
            warnings.append(f"the adapter changes pictures by {moved:.2f} of 255 levels only: train for more steps")
        return warnings + self._overfitting(chosen.trial)

    def _overfitting(self, chosen: Evaluation) -> list[str]:
        warnings = []
        if chosen.copying is not None and chosen.copying > 2 * COPY_FREE:
            warnings.append(
                f"portraits are {chosen.copying:.2f} more similar to a training photo than to the held-out photos: "
                "send photos that differ more"
            )
        last = self.trials[-1]
        if self.rise(last) > OVERTRAINED:
            warnings.append(
                f"the loss on the held-out photos had risen by {self.rise(last):.0%} at the end: "
                f"step {chosen.step} was kept; fewer steps are enough"
            )
        if self._lost_diversity(chosen) > 0:
            warnings.append(
                "the portraits have become all alike: train for fewer steps or with photos that differ more"
            )
        return warnings

    def _lost_diversity(self, trial: Evaluation) -> float:
        base = self.trials[0].diversity
        if not base or trial.diversity is None:
            return 0.0
        return max(0.0, NARROW - trial.diversity / base)
