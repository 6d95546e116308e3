"""The stages of a portrait: what one is, those that a request asks for, and how jobs go through them.

First the faces go through theirs, side by side (`face_stages`); then, once they are back in it, the whole picture goes
through its own (`picture_stages`).
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
"""Is told of how many jobs a network evaluation, or the stage itself, is done."""


class Job(Protocol):
    """What stages work on: a picture, RGB uint8 (H, W, 3), that each of them leaves further on."""

    image: Image


JobType = TypeVar("JobType", bound=Job)


@dataclass(frozen=True)
class Stage(Generic[JobType]):
    """One step on the way to a portrait.

    Attributes:
        name: for progress and for the files of `keep_stages`.
        work: does it for all jobs, and calls `Advance` after each network evaluation.
        evaluations: of the network for one job, for progress.
    """

    name: str
    work: Callable[[Sequence[JobType], GenerateModels, Advance], None]
    evaluations: int = 0


def count_steps(stages: Sequence[Stage[JobType]], jobs: int) -> int:
    """What `Progress` counts of so many jobs that go through these stages."""
    return jobs * sum(1 + stage.evaluations for stage in stages)


@dataclass(eq=False)
class RunContext:
    """What every stage of one request is run with.

    Attributes:
        workspace: where things are kept.
        models: the resident models.
        progress: is told how far it is.
        kept: keys of the pictures after each stage, by its number and name; filled where the settings keep them.
    """

    workspace: Workspace
    models: GenerateModels
    progress: Progress
    kept: dict[str, str]

    def take_through(self, stages: Sequence[Stage[JobType]], jobs: Sequence[JobType], first: int = 1) -> None:
        """Do what the stages do to all jobs, in order; `first` is the number of the first of them in the request."""
        for number, stage in enumerate(stages, start=first):
            self.progress.begin(stage.name)
            stage.work(jobs, self.models, self.progress.advance)
            self.progress.advance(len(jobs))
            if self.models.settings.generate.keep_stages:
                self._keep(f"{number}-{stage.name}", jobs)

    def _keep(self, name: str, jobs: Sequence[Job]) -> None:
        for number, job in enumerate(jobs, start=1):
            full = name if len(jobs) == 1 else f"{name}-{number}"
            self.kept[full] = self.workspace.save(f"stages/{full}.png", output.encode_png(job.image))
