"""The loss during a training: a mean over the last few steps, read at intervals, and the curve of these means."""

import torch

from functions.train.optimizer_steps import OptimizerStep

LOSS_EVERY = 10  # steps between two readings; each reading waits for the device

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

    def figures(self) -> dict[str, float]:
        """Return the figures for progress reports: the last mean loss, if there is one."""
        return {} if self.latest is None else {"loss": self.latest}
