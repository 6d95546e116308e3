"""Which checkpoint is kept: the one whose validation pictures look most like the person, and never none.

The likeness counts less by what speaks against a checkpoint: pictures that copy a photo of the training, a loss on the
photos held out that has begun to rise, and pictures that have become all the same.
"""

from dataclasses import dataclass

from functions.train.lora import Weights
from functions.train.validation import Evaluation, measure_change

UNMOVED = 0.5  # levels of 255: below it rounding hides what the adapter does
COPY_FREE = 0.05  # of similarity; two photos of a person differ by more in how near a third one is
NARROW = 0.5  # of the base's diversity: one person is less diverse than all, but half of it is pose and light
OVERTRAINED = 0.05  # rise of the loss on photos held out that is worth a warning


@dataclass(frozen=True, eq=False)
class ChosenCheckpoint:
    """A checkpoint worth keeping."""

    trial: Evaluation
    weights: Weights


class CheckpointSelection:
    """Keeps the best checkpoint so far and the last one; two in memory, however many are offered.

    Attributes:
        trials: of the base model with an adapter that does nothing yet, and of every checkpoint.
        best, last: None before there is one.
    """

    def __init__(self, base: Evaluation) -> None:
        self.trials = [base]
        self.best: ChosenCheckpoint | None = None
        self.last: ChosenCheckpoint | None = None

    def offer(self, trial: Evaluation, weights: Weights) -> None:
        """Take a checkpoint into account."""
        self.trials.append(trial)
        self.last = ChosenCheckpoint(trial, weights)
        score = self.score(trial)
        best = self.score(self.best.trial) if self.best else None
        if score is not None and (best is None or score > best):
            self.best = self.last

    def score(self, trial: Evaluation) -> float | None:
        """Likeness less what speaks against it; None where no picture shows a face."""
        if trial.similarity is None:
            return None
        copied = max(0.0, (trial.copying or 0.0) - COPY_FREE)
        return trial.similarity - copied - self.rise(trial) - self._narrowing(trial)

    def rise(self, trial: Evaluation) -> float:
        """How far the loss on photos held out lies above its least value before, as a share of that."""
        before = [one.held_out_loss for one in self.trials if one.step < trial.step and one.held_out_loss]
        if trial.held_out_loss is None or not before:
            return 0.0
        return max(0.0, trial.held_out_loss / min(before) - 1)

    @property
    def chosen(self) -> ChosenCheckpoint | None:
        """The one with the best score, or the last where no validation picture shows a face; None before any offer."""
        return self.best or self.last

    def warnings(self) -> list[str]:
        """What the sender should know about the choice."""
        base, chosen = self.trials[0], self.chosen
        if chosen is None:
            return []
        said = []
        before, after = base.similarity, chosen.trial.similarity
        if after is None:
            said.append("no face was found in any validation picture: the last checkpoint was kept, unjudged")
        elif before is not None and after <= before:
            said.append(f"no checkpoint looks more like the person ({after:.2f}) than the base model ({before:.2f})")
        moved = measure_change(base, chosen.trial)
        if moved < UNMOVED:
            said.append(f"the adapter changes pictures by {moved:.2f} of 255 levels only: train for more steps")
        return said + self._excesses(chosen.trial)

    def _excesses(self, chosen: Evaluation) -> list[str]:
        said = []
        if chosen.copying is not None and chosen.copying > 2 * COPY_FREE:
            said.append(
                f"portraits are {chosen.copying:.2f} nearer to a photo of the training than to those held out: "
                "send photos that differ more"
            )
        last = self.trials[-1]
        if self.rise(last) > OVERTRAINED:
            said.append(
                f"the loss on photos held out has risen by {self.rise(last):.0%} at the end: "
                f"step {chosen.step} was kept, fewer steps suffice"
            )
        if self._narrowing(chosen) > 0:
            said.append("the portraits have become all alike: train for fewer steps or with photos that differ more")
        return said

    def _narrowing(self, trial: Evaluation) -> float:
        base = self.trials[0].diversity
        if not base or trial.diversity is None:
            return 0.0
        return max(0.0, NARROW - trial.diversity / base)
