"""The stages of a portrait, and how jobs go through them.

First all faces go through the face stages together (`face_stages`). Once they are pasted back, the whole picture goes
through the picture stages (`picture_stages`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from functions.generate import output
from functions.generate.models import GenerateModels
from functions.generate.progress import Progress
from shared.contract.workspace import Workspace
from shared.imaging.array_types import Image

Advance = Callable[[int], None]
"""Called with the number of jobs for which one network evaluation, or the whole stage, is done."""


class Job(Protocol):
    """What stages work on: an image, RGB, uint8, (H, W, 3), which each stage replaces or changes."""

    image: Image

    @property
    def finished(self) -> Image:
        """The image as it would be shown now, RGB, uint8, (H, W, 3)."""


JobType = TypeVar("JobType", bound=Job)


@dataclass(frozen=True)
class Stage(Generic[JobType]):
    """One step on the way to a portrait.

    Attributes:
        name: shown in the progress and in the file names of `keep_stages`.
        work: does the stage's work on all jobs, and calls `Advance` after each network evaluation.
        evaluations: number of network evaluations per job, for the progress.
    """

    name: str
    work: Callable[[Sequence[JobType], GenerateModels, Advance], None]
    evaluations: int = 0


def count_steps(stages: Sequence[Stage[JobType]], jobs: int) -> int:
    """Return the number of steps that `Progress` counts when this many jobs go through these stages."""
    return jobs * sum(1 + stage.evaluations for stage in stages)


@dataclass(eq=False)
class RunContext:
    """What all stages of one request run with.

    Attributes:
        workspace: saves the pictures of `keep_stages`.
        models: the resident models.
        progress: counts the finished steps.
        kept: keys of the pictures after each stage, by the stage's number and name; empty unless the settings say
            `keep_stages`.
    """

    workspace: Workspace
    models: GenerateModels
    progress: Progress
    kept: dict[str, str]

    def take_through(self, stages: Sequence[Stage[JobType]], jobs: Sequence[JobType], first: int = 1) -> None:
        """Run the stages on all jobs, in order.

        Args:
            stages: the stages to run.
            jobs: what they work on.
            first: number of the first of these stages, counted over the whole request.
        """
        for number, stage in enumerate(stages, start=first):
            self.progress.begin(stage.name)
            stage.work(jobs, self.models, self.progress.advance)
            self.progress.advance(len(jobs))
            if self.models.settings.generate.keep_stages:
                self._keep(f"{number}-{stage.name}", jobs)

    def _keep(self, name: str, jobs: Sequence[Job]) -> None:
        for number, job in enumerate(jobs, start=1):
            full = name if len(jobs) == 1 else f"{name}-{number}"
            self.kept[full] = self.workspace.save(f"stages/{full}.png", output.encode_png(job.finished))
