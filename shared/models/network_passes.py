"""Which steps of a diffusion take a pass of the network: where a schedule is finer than it needs to be, not all do.

A prediction changes smoothly with the logarithm of noise over signal, and so do the predictions of neighboring steps. A
step between two passes takes what follows linearly from the two before it: the second order of DPM-Solver++ (Lu et al.,
2022), which takes one step where a schedule has several. Here every step of the schedule is still made, and with it
what is done after each of them, such as keeping what lies outside of a mask.

| a step | takes |
|---|---|
| with guidance | a pass, or two pictures' pass: predictions change suddenly where guidance ends |
| that the last pass before it serves no longer | a pass |
| any other | the prediction that follows from the last two passes; the last one's if it alone had any signal |
"""

import math
from collections.abc import Callable

import torch

from shared.models.base_model import Schedule


class NetworkPasses:
    """The predictions of one diffusion, step by step.

    Args:
        schedule: its noise levels.
        span: how far in the natural logarithm of noise over signal a pass serves; None means its own step only.
    """

    def __init__(self, schedule: Schedule, span: float | None) -> None:
        self._levels = [_logarithm(schedule.noise_over_signal(step)) for step in range(len(schedule))]
        self._span = span
        self._known: list[tuple[float, torch.Tensor]] = []  # level and prediction of the last two passes

    def predict(self, step: int, guided: bool, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the prediction at a step; steps come in their order.

        Args:
            step: the step, from 0.
            guided: whether the step has guidance.
            compute: runs the network; called only if the step takes a pass.
        """
        if guided:
            self._known.clear()
            return compute()
        if self._needs_pass(step):
            made = compute()
            # from pure noise, which is infinitely far away, nothing can be continued
            near = [one for one in self._known[-1:] if math.isfinite(one[0])]
            self._known = [*near, (self._levels[step], made)]
            return made
        return self._extrapolate(self._levels[step])

    def _needs_pass(self, step: int) -> bool:
        """Return whether the last pass does not reach to where this step ends; the last step ends at no noise."""
        if self._span is None or not self._known:
            return True
        end = self._levels[min(step + 1, len(self._levels) - 1)]
        return not self._known[-1][0] - end <= self._span  # nor is NaN, from two levels without any signal

    def _extrapolate(self, level: float) -> torch.Tensor:
        last, latest = self._known[-1]
        if len(self._known) == 1:
            return latest
        first, earlier = self._known[0]
        return torch.lerp(earlier, latest, (level - first) / (last - first))


def _logarithm(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf
