"""Compares a training's validation of its checkpoints with pictures that the validation does not see.

    python -m benchmarks.likeness_by_step PHOTO... [--spacing 100] [--set gamma=5 seed=7 ...] [--sheet FILE]

It prints one row per checkpoint: similarity, copying, diversity and held-out loss as validation measures them, the
score for selection, and the mean distance to the person of 16 pictures from noise and of 16 pictures from other
people's faces, with noise that validation does not use. `--set` changes numbers in the plan that suits the base model.
All photos must show the same person; with six or fewer none is held out.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as Pictures

from benchmarks.lora_likeness import COUNT, STRENGTH, embed_largest, enlarge, strangers
from functions.train import dataset
from functions.train.latents import decode, encode
from functions.train.lora import add_adapter
from functions.train.optimizer_steps import OptimizerSteps
from functions.train.plan import TrainingPlan
from functions.train.sampling import PromptEmbeddings, sample_pictures
from functions.train.selection import CheckpointSelection
from functions.train.training_inputs import embed_prompts, prepare_held_out_loss, prepare_inputs, prepare_validator
from shared.faces import FaceEngine
from shared.faces.loading import load_engine
from shared.imaging.array_types import Embedding, Image
from shared.models.diffusion import DiffusionModel, load_model
from shared.settings import Limits, Settings
from tests.fake_workspace import FakeWorkspace

STEPS, SEED = 20, 5  # for the pictures that validation does not see


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures the mean distance to a person of pictures that validation does not see."""

    model: DiffusionModel
    engine: FaceEngine
    said: PromptEmbeddings
    person: Sequence[Embedding]
    starts: torch.Tensor
    noise: torch.Tensor

    def __call__(self) -> tuple[list[float], list[Image]]:
        """Return the mean distance of pictures from noise, that of pictures from others' faces, and the pictures."""
        means, shown = [], []
        for strength, starts in ((1.0, self.noise), (STRENGTH, self.starts)):
            made = sample_pictures(self.model, self.said, starts, self.noise, strength, STEPS)
            images = decode(self.model, made)
            shown += images
            found = [one for image in images if (one := embed_largest(self.engine, enlarge(image))) is not None]
            gaps = [self.engine.distance(one, photo) for one in found for photo in self.person]
            means.append(float(np.mean(gaps)) if gaps else float("nan"))
        return means, shown


def main() -> int:
    """Train, judge every checkpoint and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--spacing", type=int, default=100)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    if not arguments.photos:
        print("skipped: give five or more photos of one person")
        return 0
    model, engine = load_model(Settings().model), load_engine(Settings().faces)
    changes = {name: float(number) for name, number in (one.split("=") for one in arguments.set)}
    plan = TrainingPlan(**TrainingPlan.for_model(model.working).model_dump() | changes)
    workspace = FakeWorkspace({name: Path(name).read_bytes() for name in arguments.photos})
    photos = dataset.prepare_dataset(arguments.photos, workspace, engine, model.working, Limits()).photos
    rows = course(model, engine, photos, plan, arguments.steps, arguments.spacing)
    if arguments.sheet:
        sheet = np.vstack([np.hstack(images) for images in rows])
        Pictures.fromarray(sheet).save(arguments.sheet)
    return 0


def course(
    model: DiffusionModel,
    engine: FaceEngine,
    photos: list[dataset.Photo],
    plan: TrainingPlan,
    steps: int,
    spacing: int,
) -> list[list[Image]]:
    """Train as `training_loop` does, print a row for every checkpoint, and return the pictures of each."""
    aside, said = dataset.hold_out(photos), embed_prompts(model)
    learned = prepare_inputs(
        model, {i: one for i, one in enumerate(photos) if i not in aside}, said.prompt, plan, steps
    )
    validate = prepare_validator(
        model, engine, photos, aside, said, prepare_held_out_loss(model, photos, aside, learned, plan)
    )
    judge, started = make_judge(model, engine, photos, said), time.process_time()
    title = f"{'step':>5}{'similar':>10}{'faces':>6}{'copying':>9}{'diversity':>10}{'heldout':>8}{'score':>8}"
    print(f"{len(photos)} photos, {len(aside)} held out, rank {plan.rank}, rate {plan.learning_rate}, ", end="")
    print(f"gamma {plan.gamma:.0f}, outside {plan.outside}, crops {plan.crops}, seed {plan.seed}")
    print(title + f"{'from noise':>12}{'over others':>12}  mean distance of {COUNT}", flush=True)
    with add_adapter(model, plan) as adapter:
        selection = CheckpointSelection(validate(0))
        shown = [row(selection, judge)]
        for update in OptimizerSteps(adapter, learned, plan, steps):
            if update.step % spacing == 0:
                selection.offer(validate(update.step), adapter.weights())
                shown.append(row(selection, judge))
    chosen = selection.chosen
    print(f"chosen: step {chosen.trial.step if chosen else None}; {time.process_time() - started:.0f} s on one core")
    for warning in selection.warnings():
        print(f"warning: {warning}")
    return shown


def make_judge(model: DiffusionModel, engine: FaceEngine, photos: list[dataset.Photo], said: PromptEmbeddings) -> Judge:
    """Return the judge for a person, with other people's faces to start from."""
    side = model.working.size
    faces = [cv2.resize(face, (side, side)) for face in strangers(engine, model.working.framing, side)]
    starts = encode(model, faces).mean
    noise = torch.randn(starts.shape, generator=torch.Generator().manual_seed(SEED))
    return Judge(model, engine, said, [photo.embedding for photo in photos], starts, noise)


def row(selection: CheckpointSelection, judge: Judge) -> list[Image]:
    """Print the row of the last checkpoint, and return the judge's pictures."""
    trial = selection.trials[-1]
    distances, pictures = judge()
    figures = [trial.similarity, trial.copying, trial.diversity, trial.held_out_loss, selection.score(trial)]
    cells = ["-" if one is None else f"{one:.3f}" for one in figures]
    print(f"{trial.step:>5}{cells[0]:>10}{trial.faces:>6}{cells[1]:>9}{cells[2]:>10}{cells[3]:>8}{cells[4]:>8}", end="")
    print("".join(f"{one:>12.3f}" for one in distances), flush=True)
    return pictures


if __name__ == "__main__":
    sys.exit(main())
