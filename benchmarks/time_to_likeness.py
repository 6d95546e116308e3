"""Measures how many CPU seconds trainings by several plans take to the same loss and likeness on photos held out.

    python -m benchmarks.time_to_likeness OUT --people FOLDER... [--plans NAME...] [--until 09:05]
    python -m benchmarks.time_to_likeness OUT --report

Each FOLDER has two or more photos of one person and names them. Every third photo is held out, of two the second; the
others are trained on, with mirrored and brightened copies up to 7, as in `training_pays`.

| plan | what it is |
|---|---|
| default | the plan of `TrainingPlan.for_model`, 400 steps |
| NAME in `PLANS` | the same with what stands there |
| script | the defaults of diffusers' `train_dreambooth_lora.py` |

The script cannot load portrait-tiny, whose autoencoder has no distribution. Its plan here is attention only, rank 4, a
constant rate of 5e-4, batches of 4, and every time step and pixel alike, in our loop, on our crops and cached latents.

A row has the CPU seconds of the updates alone, the held-out loss by the default plan's weights, with the same noise for
all plans, the similarity of 4 pictures as validation measures it, and the score by which a training selects its
checkpoint, without the part for diversity; `best` is that of each person's better checkpoint so far. OUT keeps a
line for each measurement, so a run that was ended goes on where it was.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.pairs import SUFFIXES, read
from benchmarks.training_pays import PHOTOS, shrunk, top_up
from functions.train import dataset
from functions.train.lora import add_adapter
from functions.train.loss import DiffusionLoss
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.selection import COPY_FREE
from functions.train.training_inputs import (
    TrainingInputs,
    embed_prompts,
    prepare_held_out_loss,
    prepare_inputs,
    prepare_validator,
)
from shared.faces import FaceEngine
from shared.faces.loading import load_engine
from shared.models.architectures import ATTENTION
from shared.models.base_model import DiffusionModel
from shared.models.diffusion import load_model
from shared.models.unet_objective import UNetObjective
from shared.settings import Limits, Settings
from tests.fake_workspace import FakeWorkspace
from tests.pictures import jpeg

STEPS, MEASURED = 400, (0, 200, 400)  # MEASURED: shares of the plan's steps in 400ths
SCRIPT = "script"
PLANS: dict[str, dict[str, Any]] = {
    "default": {},
    "batch 4": {"batch": 4},
    "batch 2": {"batch": 2},
    "batch 2, rate 5e-3": {"batch": 2, "learning_rate": 5e-3},
    "batch 1": {"batch": 1},
    "batch 4, 200 steps": {"batch": 4, "steps": 200},
    SCRIPT: {
        "batch": 4,
        "rank": 4,
        "alpha": 4,
        "targets": ATTENTION,
        "learning_rate": 5e-4,
        "warm_up": 0,
        "final_rate": 1.0,
        "crops": 1,
        "outside": 1.0,
    },
}


@dataclass(frozen=True, eq=False)
class Studio:
    """What all trainings share: the base model, the face engine, and the file of measurements."""

    model: DiffusionModel
    engine: FaceEngine
    out: Path

    def measure(self, person: Path, plan: str) -> None:
        """Train a person by a plan, and write a line for each measured step."""
        known, aside = self._photos(person)
        photos = known + aside
        held_out = list(range(len(known), len(photos)))
        usual = TrainingPlan.for_model(self.model.working, self.model.architecture)
        changes = dict(PLANS[plan])
        steps = changes.pop("steps", STEPS)
        chosen = usual.model_copy(update=changes)
        words = embed_prompts(self.model)
        inputs = prepare_inputs(self.model, dict(enumerate(known)), words.prompt, chosen, steps)
        judged = prepare_inputs(self.model, dict(enumerate(known)), words.prompt, usual, steps)
        validate = prepare_validator(
            self.model,
            self.engine,
            photos,
            held_out,
            words,
            prepare_held_out_loss(self.model, photos, held_out, judged, usual),
        )
        if plan == SCRIPT:
            inputs = TrainingInputs(inputs.cache, inputs.words, self._unweighted(usual))
        spent = 0.0
        with add_adapter(self.model, chosen) as adapter:
            updates = iter(OptimizerSteps(adapter, inputs, chosen, steps))
            for share in MEASURED:
                started = time.process_time()
                for _ in range(steps * share // STEPS - steps * previous(share) // STEPS):
                    next(updates)
                spent += time.process_time() - started
                trial = validate(steps * share // STEPS)
                row = {"person": person.name, "plan": plan, "share": share, "seconds": spent}
                found = {"loss": trial.held_out_loss, "similarity": trial.similarity, "copying": trial.copying}
                with self.out.open("a") as file:
                    file.write(json.dumps(row | found) + "\n")

    def _photos(self, person: Path) -> tuple[list[dataset.Photo], list[dataset.Photo]]:
        """Return the photos to train on and those that are held out."""
        files = sorted(path for path in person.iterdir() if path.suffix.lower() in SUFFIXES)
        every = [photo for photo in map(shrunk, map(read, files)) if len(self.engine.detect(photo)) == 1]
        aside = every[min(2, len(every) - 1) :: 3]
        known = top_up([photo for photo in every if not any(photo is one for one in aside)])[: PHOTOS - 1]
        # the rules of a training about the number of photos are not the question, so both go through as one
        objects = {f"{index}.jpg": jpeg(photo, 95) for index, photo in enumerate(known + aside)}
        made = dataset.prepare_dataset(
            list(objects), FakeWorkspace(objects), self.engine, self.model.working, Limits()
        ).photos
        kept = {f"{len(known) + index}.jpg" for index in range(len(aside))}
        return [one for one in made if one.name not in kept], [one for one in made if one.name in kept]

    def _unweighted(self, plan: TrainingPlan) -> DiffusionLoss:
        objective = self.model.objective(plan.gamma)
        assert isinstance(objective, UNetObjective)
        objective.weights = torch.ones_like(objective.weights)
        return DiffusionLoss(self.model, objective)


def previous(share: int) -> int:
    """Return the measured share before this one; 0 for the first."""
    return max((one for one in MEASURED if one < share), default=0)


def main() -> int:
    """Train what is left to train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--people", type=Path, nargs="*", default=[])
    parser.add_argument("--plans", nargs="*", default=["default", SCRIPT], choices=PLANS)
    parser.add_argument("--until", default="23:59", help="time of the day after which no training is begun")
    parser.add_argument("--report", action="store_true", help="only print the table of what has been measured")
    arguments = parser.parse_args()
    if arguments.out is None or not (arguments.report or arguments.people):
        print("skipped: give a file for the results, and folders of people's photos")
        return 0
    if not arguments.report:
        settings = Settings()
        studio = Studio(load_model(settings.model), load_engine(settings.faces), arguments.out)
        for person in arguments.people:
            for plan in arguments.plans:
                done = {(row["person"], row["plan"]) for row in rows(arguments.out) if row["share"] == MEASURED[-1]}
                if (person.name, plan) not in done and f"{datetime.now():%H:%M}" < arguments.until:
                    studio.measure(person, plan)
    report(arguments.out)
    return 0


def rows(out: Path) -> Iterator[dict[str, Any]]:
    """Yield the measurements that have been made."""
    if out.exists():
        yield from map(json.loads, out.read_text().splitlines())


def report(out: Path) -> None:
    """Print the means over people by plan and step; a person counts if all the plan's steps were measured."""
    latest = {(row["plan"], row["person"], row["share"]): row for row in rows(out)}
    print(f"{'plan':<22}{'people':>7}{'step':>6}{'CPU s':>8}{'held-out loss':>15}{'similarity':>12}", end="")
    print(f"{'score':>8}{'best':>8}")
    for plan, changes in PLANS.items():
        steps = changes.get("steps", STEPS)
        people = [who for name, who, share in latest if (name, share) == (plan, MEASURED[-1])]
        score = {who: score_of([latest[plan, who, share] for share in MEASURED]) for who in people}
        for index, share in enumerate(MEASURED if people else ()):
            of = [latest[plan, who, share] for who in people]
            figures = ("seconds", "loss", "similarity")
            mean = {name: statistics.mean(row[name] or 0.0 for row in of) for name in figures}
            reached = statistics.mean(score[who][index] for who in people)
            best = statistics.mean(max(score[who][1 : index + 1], default=score[who][0]) for who in people)
            print(
                f"{plan:<22}{len(people):>7}{steps * share // STEPS:>6}{mean['seconds']:>8.1f}"
                f"{mean['loss']:>15.4f}{mean['similarity']:>12.3f}{reached:>8.3f}{best:>8.3f}"
            )


def score_of(course: list[dict[str, Any]]) -> list[float]:
    """Return the score of each measurement of a training, as `CheckpointSelection.score` without diversity."""
    found = []
    for index, row in enumerate(course):
        lowest = min((before["loss"] for before in course[:index]), default=row["loss"])
        copied = max(0.0, (row["copying"] or 0.0) - COPY_FREE)
        found.append((row["similarity"] or 0.0) - copied - max(0.0, row["loss"] / lowest - 1))
    return found


if __name__ == "__main__":
    sys.exit(main())
