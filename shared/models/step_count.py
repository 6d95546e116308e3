"""How many steps of a schedule are run at a denoising strength."""

import math
from dataclasses import dataclass

FINEST_FEW = 50  # steps of the finest schedule that LCM and TCD were distilled with


@dataclass(frozen=True)
class StepCount:
    """The rule by which a base model counts steps.

    Attributes:
        most: most steps of a distilled model's schedule; None for other models.
        rounds_up: whether steps x strength is rounded up, as diffusers' pipelines of rectified flow do it; those of
            Stable Diffusion round down.
    """

    most: int | None = None
    rounds_up: bool = False

    def evaluations(self, steps: int, strength: float) -> int:
        """Return the number of network evaluations: steps x strength, as diffusers counts them.

        For a distilled model it is min(steps, most) x strength, rounded up: with at most 8 steps, 50 x 0.45 makes 4
        and 20 x 0.30 makes 3.
        """
        asked = min(steps - int(max(steps - steps * strength, 0)) if self.rounds_up else int(steps * strength), steps)
        if self.most is None or asked == 0:
            return asked
        # 1e-9 is subtracted because 0.3 x 10, slightly above 3 in floats, would be rounded up to 4
        return min(asked, math.ceil(min(steps, self.most) * strength - 1e-9))

    def schedule(self, steps: int, strength: float) -> int:
        """Return the number of steps of the schedule of which the last `evaluations` are run.

        For a distilled model it is chosen so that the run starts as near to `strength` as possible.
        """
        run = self.evaluations(steps, strength)
        if self.most is None or run == 0:
            return steps
        return min(max(round(run / strength), run), FINEST_FEW)
