"""Which checkpoint is kept: the one whose validation pictures look most like the person, and never none."""

from dataclasses import dataclass

from functions.train.lora import Weights
from functions.train.validation import Trial, change

UNMOVED = 0.5  # levels of 255: below it rounding hides what the adapter does


@dataclass(frozen=True, eq=False)
class Chosen:
    """A checkpoint worth keeping."""

    trial: Trial
    weights: Weights


class Selection:
    """Keeps the best checkpoint so far and the last one; two in memory, however many are offered.

    Args:
        base: validation of the base model with an adapter that does nothing yet.
    """

    def __init__(self, base: Trial) -> None:
        self.trials = [base]
        self._best: Chosen | None = None
        self._last: Chosen | None = None

    def offer(self, trial: Trial, weights: Weights) -> None:
        """Take a checkpoint into account."""
        self.trials.append(trial)
        self._last = Chosen(trial, weights)
        best = self._best.trial.similarity if self._best else None
        if trial.similarity is not None and (best is None or trial.similarity > best):
            self._best = self._last

    @property
    def chosen(self) -> Chosen | None:
        """The most similar one, or the last where no validation picture shows a face; None before the first offer."""
        return self._best or self._last

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
        moved = change(base, chosen.trial)
        if moved < UNMOVED:
            said.append(f"the adapter changes pictures by {moved:.2f} of 255 levels only: train for more steps")
        return said
