"""The loss during a training: a mean over the last few steps, read at intervals, and the curve of these means."""

from collections.abc import Sequence

import torch

from functions.train.optimizer_steps import OptimizerStep

LOSS_EVERY = 10  # steps between two readings; each reading waits for the device
WINDOW = 20  # updates whose mean tells a trend: the losses of single updates differ by more than their trend

Curve = list[tuple[int, float]]


class LossHistory:
    """Collects the losses of a training and reads them from the device only every few steps.

    Attributes:
        curve: pairs of a step and the mean loss since the previous pair.
    """

    def __init__(self, curve: Curve | None = None) -> None:
        self.curve = list(curve or [])
        self._unread: list[torch.Tensor] = []

    @property
    def latest(self) -> float | None:
        """The last mean that was read; None before the first reading."""
        return self.curve[-1][1] if self.curve else None

    def add(self, update: OptimizerStep, now: bool) -> None:
        """Add an update's loss; `now` reads the mean even if fewer than `LOSS_EVERY` losses have been added since."""
        self._unread.append(update.loss)
        if len(self._unread) == LOSS_EVERY or now:
            self.curve.append((update.step, float(torch.stack(self._unread).mean())))
            self._unread = []

    def growth(self) -> float | None:
        """Return the mean loss of about the last WINDOW updates over that of the first; None before there are both."""
        steps = [0, *(step for step, _ in self.curve)]
        read = [(loss, after - before) for (_, loss), before, after in zip(self.curve, steps, steps[1:], strict=False)]
        if steps[-1] < 2 * WINDOW:
            return None
        return _mean(read[::-1]) / _mean(read)

    def figures(self) -> dict[str, float]:
        """Return the figures for progress reports: the last mean loss, if there is one."""
        return {} if self.latest is None else {"loss": self.latest}


def _mean(read: Sequence[tuple[float, int]]) -> float:
    """Return the mean loss of the first readings that have WINDOW updates together; a reading is (mean, updates)."""
    total, count = 0.0, 0
    for loss, updates in read:
        total, count = total + loss * updates, count + updates
        if count >= WINDOW:
            break
    return total / count
