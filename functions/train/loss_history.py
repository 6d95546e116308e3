"""The loss as a training goes: a mean of the last steps now and then, and the curve that these make."""

import torch

from functions.train.optimizer_steps import OptimizerStep

LOSS_EVERY = 10  # steps; reading the loss waits for the device

Curve = list[tuple[int, float]]


class LossHistory:
    """Reads the loss from the device now and then only.

    Attributes:
        curve: (step, mean of the losses since the point before).
    """

    def __init__(self, curve: Curve | None = None) -> None:
        self.curve = list(curve or [])
        self._unread: list[torch.Tensor] = []

    @property
    def read(self) -> float | None:
        """The last mean; None before the first."""
        return self.curve[-1][1] if self.curve else None

    def add(self, update: OptimizerStep, now: bool) -> None:
        """Take an update into account; with `now` the mean is read even if few have come since."""
        self._unread.append(update.loss)
        if len(self._unread) == LOSS_EVERY or now:
            self.curve.append((update.step, float(torch.stack(self._unread).mean())))
            self._unread = []

    def figures(self) -> dict[str, float]:
        """For the progress."""
        return {} if self.read is None else {"loss": self.read}
