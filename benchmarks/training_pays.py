"""Measures what a trained LoRA adds to portraits, by photos and a recognizer that the product does not see.

    python -m benchmarks.training_pays OUT --people FOLDER... --photos PHOTOS --judge FILE
                                       [--steps 400] [--settings NAME...] [--until 09:05]
                                       [--sheet sheet.png [--setting default]]
    python -m benchmarks.training_pays OUT --report [--sheet sheet.png]

Each FOLDER has two or more photos of one person and names them. Every third photo is set aside, of two the second:
portraits are compared with those alone. The others are trained on, with mirrored and brightened copies up to 8, because
a training wants that many, and are the references of the fusion, as they are. Templates are those of `pairs.py`. FILE
is the recognizer of `graph_recognizer.py` (faceres.json), or an ONNX network as `arcface.py` takes.

Every portrait is made twice with the same noise: with the person's LoRA, and with none. OUT keeps the LoRAs and a line
for each portrait; a run that was ended goes on where it was, and `--until` ends it at a time of the day. The tables
have the mean cosine to the photos that were set aside, and the mean of the paired differences with its standard error
over people; `default` is the mean of the same pairs by the default knobs without a LoRA. Below them stand what another
seed changes, and what ending trainings early would have saved.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import safetensors.torch

from benchmarks.arcface import ArcFace
from benchmarks.graph_recognizer import GraphRecognizer
from benchmarks.pairs import SUFFIXES, Place, Someone, distance, measure_portrait, places, read, there
from benchmarks.portraits import Remembering, close
from functions.generate import portrait
from functions.generate.models import GenerateModels
from functions.train import checkpoint
from functions.train.handler import TrainFunction
from functions.train.plan import TrainingPlan
from functions.train.stopping import find_overfitting
from functions.train.training import Trainer
from functions.train.training_inputs import TRIGGER
from functions.train.validation import Evaluation
from shared.contract import keys
from shared.errors import RequestError
from shared.faces import Face, FaceEngine
from shared.faces.base import largest
from shared.faces.loading import load_engine
from shared.imaging.array_types import Embedding, Image
from shared.models import diffusion
from shared.photos.person_photos import LONGEST_SIDE
from shared.settings import Limits, Settings
from tests.fake_workspace import FakeWorkspace
from tests.pictures import jpeg, png
from tests.trained_users import lora, make_trained_user

TEMPLATES = ("detection1", "detection2", "two_people", "obama_and_biden", "collins", "hopper")
PHOTOS = 8  # of a training, of which one is held out
SEEDS = (1, 2, 3)
SAME_ALREADY = 0.45  # cosine of an ArcFace network from which a template shows the person already
CHOSEN, NONE = "chosen", "none"
SETTINGS: dict[str, dict[str, object]] = {
    "default": {},
    "first 0.30": {"first_denoising_strength": 0.3},
    "first 0.60": {"first_denoising_strength": 0.6},
    "first 0.80": {"first_denoising_strength": 0.8},
    "face, second 0.30": {"mask_region": "face"},
    "face, second 0.60": {"mask_region": "face", "second_denoising_strength": 0.6},
    "face, second 0.80": {"mask_region": "face", "second_denoising_strength": 0.8},
    "diffusion 0.60, then fusion": {"apply_face_fusion_before": False, "first_denoising_strength": 0.6},
    "fusion, then diffusion 0.60": {"apply_face_fusion_after": False, "first_denoising_strength": 0.6},
    "no fusion, 0.45": {"more_like_me_before": 0, "more_like_me": 0},
    "no fusion, 0.80": {"more_like_me_before": 0, "more_like_me": 0, "first_denoising_strength": 0.8},
    "fewer steps (20, 10)": {"first_diffusion_steps": 20, "second_diffusion_steps": 10},
    "more steps (100, 40)": {"first_diffusion_steps": 100, "second_diffusion_steps": 40},
}
BY_STEP = "fusion, then diffusion 0.60"  # the setting in which LoRAs of other steps are compared


@dataclass(frozen=True)
class Task:
    """One portrait to make; `lora` is `chosen`, `none`, or the step of a checkpoint."""

    person: str
    template: str
    setting: str
    seed: int
    lora: str


@dataclass(frozen=True, eq=False)
class Sitter:
    """A person: the photos that the product gets, and the judge's mean vector of those that it does not get."""

    known: Someone
    judged: Embedding


class Recognizer(Protocol):
    """What a judge sees faces with."""

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the face's vector, of unit length."""
        ...


class Judge:
    """A recognizer that the product does not use, on the faces that the product's engine finds."""

    def __init__(self, file: Path, engine: FaceEngine) -> None:
        known = file.suffix == ".json"
        self._recognizer: Recognizer = GraphRecognizer(file) if known else ArcFace(file)
        self.same_already = 1 - GraphRecognizer.same_person if known else SAME_ALREADY
        self._engine = engine

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the face's vector, of unit length."""
        return self._recognizer.embed(image, face)

    def mean(self, photos: Sequence[Image]) -> Embedding:
        """Return the mean vector of the largest faces of these photos, of unit length."""
        mean = np.mean([self.embed(photo, largest(self._engine.detect(photo))) for photo in photos], axis=0)
        unit: Embedding = mean / np.linalg.norm(mean)
        return unit


class Recorder(FakeWorkspace):
    """Keeps the adapter of every checkpoint in a folder, and goes on from the last one there."""

    def __init__(self, objects: dict[str, bytes], folder: Path) -> None:
        super().__init__(objects, attempt=2)
        self._folder = folder
        last = folder / "checkpoint"
        if last.exists():
            self.objects[f"results/any/{self.request_id}/a1/{checkpoint.NAME}"] = last.read_bytes()

    def save(self, name: str, data: bytes) -> str:
        if name == checkpoint.NAME:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            mark = json.loads(header["__metadata__"][checkpoint.HEADER])["mark"]
            state = checkpoint.read_checkpoint(data, mark)
            assert state is not None
            assert state.selection.last is not None
            (self._folder / f"{state.step}.safetensors").write_bytes(
                safetensors.torch.save(state.selection.last.weights)
            )
            (self._folder / "checkpoint").write_bytes(data)
        return super().save(name, data)


class Studio:
    """Trains people and makes their portraits with the product's code, and measures them."""

    def __init__(self, out: Path, sitters: dict[str, Sitter], templates: list[Place], judge: Judge) -> None:
        self.out, self._judge = out, judge
        self.sitters, self.templates = sitters, {place.name: place for place in templates}
        settings = Settings()
        self.engine = Remembering(load_engine(settings.faces))
        self._models = GenerateModels(settings, self.engine, diffusion.load_model(settings.model))
        with tempfile.TemporaryDirectory() as folder:
            self._unchanged = lora(diffusion.load_model(settings.model).denoiser, folder, scale=0.0)
        self._pictures = {place.key: png(place.picture) for place in templates}
        self._users: dict[str, dict[str, bytes]] = {}
        for place in templates:
            write_face(out / "templates" / f"{place.name}.png", place.picture, place)
        for name, sitter in sitters.items():
            photo = sitter.known.photos[0]
            write_face(out / name / "photo.png", photo, Place(name, photo, self.engine.detect(photo), 0))

    def train(self, name: str, steps: int) -> None:
        """Train a person to the last step, if that has not been done, and keep the answer."""
        folder = self.out / name
        if (folder / "answer.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        photos = {
            f"{index}.jpg": jpeg(photo, 95) for index, photo in enumerate(top_up(self.sitters[name].known.photos))
        }
        model, started = diffusion.load_model(Settings().model), time.process_time()
        plan = TrainingPlan.for_model(model.working).model_copy(update={"patience": 0})
        workspace, configure = Recorder(photos, folder), {"user_id": name, "max_train_steps": steps}
        body = {"request_id": name, "images": list(photos), "configure": configure}
        data = TrainFunction(Trainer(model, self.engine, Limits(), plan)).answer(body, workspace).data
        (folder / f"{CHOSEN}.safetensors").write_bytes(workspace.objects[data["lora"]])
        (folder / "report.png").write_bytes(workspace.objects[data["report"]])
        told = data | {"references": [], "cpu_seconds": round(time.process_time() - started, 1)}
        (folder / "answer.json").write_text(json.dumps(told))

    def make(self, task: Task) -> Image:
        """Make a portrait; RequestError if it is refused."""
        place, user = self.templates[task.template], f"{task.person}-{task.lora}"
        if user not in self._users:
            self._users[user] = self._user(user, task)
        workspace = FakeWorkspace(self._pictures | self._users[user])
        users = [user if index == place.index else "none" for index in range(len(place.faces))]
        knobs = {"seed": task.seed, "image_format": "png", "user_id": users} | SETTINGS[task.setting]
        body = {"request_id": "r", "template_image": place.key, "configure": knobs}
        key = str(portrait.make_portrait(body, workspace, self._models).data["image_key"])
        made = np.asarray(cv2.imdecode(np.frombuffer(workspace.objects[key], np.uint8), cv2.IMREAD_COLOR))
        return np.ascontiguousarray(made[..., ::-1])

    def _user(self, user: str, task: Task) -> dict[str, bytes]:
        """Return the objects that make a person with this LoRA a trained user; only a trained one has the trigger."""
        known = self.sitters[task.person].known
        if task.lora == NONE:
            return make_trained_user(user, known.photos, self.engine, self._unchanged, self._models.base_model)
        file = (self.out / task.person / f"{task.lora}.safetensors").read_bytes()
        objects = make_trained_user(user, known.photos, self.engine, file, self._models.base_model)
        model = json.loads(objects[keys.model(user)]) | {"trigger": TRIGGER}
        return objects | {keys.model(user): json.dumps(model).encode()}

    def cosine(self, image: Image, task: Task) -> float | None:
        """Return the judge's cosine of the portrait to the photos that were set aside; None without a face."""
        face = there(self.engine.detect(image), self.templates[task.template].face)
        return None if face is None else float(self._judge.embed(image, face) @ self.sitters[task.person].judged)

    def shows(self, task: Task) -> bool:
        """Return whether the template shows the person already."""
        cosine = self.cosine(self.templates[task.template].picture, task)
        return cosine is not None and cosine > self._judge.same_already

    def measure(self, task: Task, image: Image) -> dict[str, Any]:
        """Return the figures of a portrait."""
        who, place = self.sitters[task.person].known, self.templates[task.template]
        figures = measure_portrait(self.engine, place, image, who)
        return {
            "cosine": self.cosine(image, task),
            "distance": figures.distance,
            "before": distance(self.engine, place.picture, place.face, who.embedding),
            "sharpness": figures.sharpness,
            "grain": figures.grain,
        }


def main() -> int:
    """Train, make the portraits that are left to make, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--people", type=Path, nargs="*", default=[])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=SETTINGS, help="make these only")
    parser.add_argument("--until", default="23:59", help="time of the day at which to end")
    parser.add_argument("--sheet", type=Path, help="draw the portraits by the setting of --setting")
    parser.add_argument("--setting", default="default", choices=SETTINGS)
    parser.add_argument("--report", action="store_true", help="only print the tables of what has been measured")
    arguments = parser.parse_args()
    if arguments.out is None or not (arguments.report or (arguments.people and arguments.photos and arguments.judge)):
        print("skipped: give a folder for the results, people, templates and a recognizer")
        return 0
    if not arguments.report:
        engine = Remembering(load_engine(Settings().faces))
        judge = Judge(arguments.judge, engine)
        sitters = {folder.name: sitter(folder, engine, judge) for folder in arguments.people}
        templates = [place for place in places(arguments.photos, engine) if place.name in TEMPLATES]
        studio = Studio(arguments.out, sitters, templates, judge)
        run(studio, arguments.steps, arguments.until, arguments.settings)
    if arguments.sheet:
        cv2.imwrite(str(arguments.sheet), sheet(arguments.out, arguments.setting)[..., ::-1])
    report(arguments.out)
    return 0


def sitter(folder: Path, engine: FaceEngine, judge: Judge) -> Sitter:
    """Read a person's photos; every third is set aside."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    photos = [photo for photo in map(shrunk, map(read, files)) if len(engine.detect(photo)) == 1]
    aside = photos[min(2, len(photos) - 1) :: 3]
    known = [photo for photo in photos if not any(photo is one for one in aside)]
    vectors = [engine.embed(photo, largest(engine.detect(photo))) for photo in known]
    return Sitter(Someone(folder.name, known, np.mean(vectors, axis=0)), judge.mean(aside))


def shrunk(photo: Image) -> Image:
    """Return the photo with at most LONGEST_SIDE pixels a side, as a reference has."""
    scale = LONGEST_SIDE / max(photo.shape[:2])
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else photo


def top_up(photos: Sequence[Image]) -> list[Image]:
    """Return the photos, with mirrored and brightened copies if there are fewer than PHOTOS."""
    mirrored = [np.ascontiguousarray(photo[:, ::-1]) for photo in photos]
    lit = [cv2.convertScaleAbs(photo, alpha=factor) for factor in (1.12, 0.88) for photo in (*mirrored, *photos)]
    return [*photos, *[*mirrored, *lit][: max(0, PHOTOS - len(photos))]]


def plan_tasks(studio: Studio, steps: int) -> Iterator[Task]:
    """Yield all portraits, the most telling ones first, so that a run that is cut short has something of everything."""
    names, templates = list(studio.sitters), list(studio.templates)
    both = (NONE, CHOSEN)
    for (index, name), setting, which in product(enumerate(names), SETTINGS, both):
        yield Task(name, templates[index % len(templates)], setting, SEEDS[0], which)
    for template, name, which in product(templates, names, both):
        yield Task(name, template, "default", SEEDS[0], which)
    for (index, name), seed, which in product(enumerate(names), SEEDS, both):
        yield Task(name, templates[index % len(templates)], "default", seed, which)
    for (index, name), step in product(enumerate(names), (steps // 4, steps // 2, steps)):
        yield Task(name, templates[index % len(templates)], BY_STEP, SEEDS[0], str(step))
    for turn, setting, (index, name), which in product((3, 1), SETTINGS, enumerate(names), both):
        yield Task(name, templates[(index + turn) % len(templates)], setting, SEEDS[0], which)
    for seed, template, name, which in product(SEEDS, templates, names, both):
        yield Task(name, template, "default", seed, which)


def run(studio: Studio, steps: int, until: str, settings: Sequence[str]) -> None:
    """Make and measure the portraits by these settings that OUT does not have, until that time of the day."""
    path = studio.out / "results.jsonl"
    done = {Task(**{name: row[name] for name in Task.__annotations__}) for row in rows(studio.out)}
    for task in plan_tasks(studio, steps):
        if datetime.now().strftime("%H:%M") >= until:
            print(f"ended at {until}")
            return
        if task in done or task.setting not in settings or studio.shows(task):
            continue
        done.add(task)
        studio.train(task.person, steps)
        try:
            made = studio.make(task)
            figures = studio.measure(task, made)
            write_face(picture_file(studio.out, task), made, studio.templates[task.template])
        except RequestError as error:
            figures = {"refused": error.message}
        with path.open("a") as file:
            file.write(json.dumps(task.__dict__ | figures) + "\n")


def rows(out: Path) -> list[dict[str, Any]]:
    """Return all lines that were kept."""
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(out: Path) -> None:
    """Print the tables."""
    found = {
        Task(**{name: row[name] for name in Task.__annotations__}): row
        for row in rows(out)
        if row.get("cosine") is not None
    }
    counts = f"{'people':>7}{'pairs':>6}"
    means = f"{'default':>9}{'none':>8}{'LoRA':>8}"
    print(f"{'setting':<30}{counts}{means}{'difference':>18}{'nearer':>8}   sharpness, none and LoRA")
    for setting in SETTINGS:
        compare(setting, found, setting, CHOSEN)
    for step in sorted({int(task.lora) for task in found if task.lora.isdigit()}):
        compare(f"LoRA of step {step}", found, BY_STEP, str(step))
    noise(found)
    stopping(out)


def compare(title: str, found: dict[Task, dict[str, Any]], setting: str, which: str) -> None:
    """Print the row of one setting: means, and the paired difference with its standard error over people."""
    pairs = [
        (task, plain, row)
        for task, row in found.items()
        if (task.setting, task.lora) == (setting, which) and (plain := found.get(replace(task, lora=NONE))) is not None
    ]
    if not pairs:
        return
    by_person: dict[str, list[float]] = {}
    for task, plain, with_lora in pairs:
        by_person.setdefault(task.person, []).append(with_lora["cosine"] - plain["cosine"])
    means = np.array([np.mean(changes) for changes in by_person.values()])
    error = means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else float("nan")
    columns = np.array(
        [[plain["cosine"], lora["cosine"], plain["sharpness"], lora["sharpness"]] for _, plain, lora in pairs]
    )
    none, chosen, *sharp = columns.mean(axis=0)
    change = f"{means.mean():+.3f} +- {error:.3f}"
    usual = [found.get(replace(task, setting="default", seed=SEEDS[0], lora=NONE)) for task, *_ in pairs]
    same = np.mean([row["cosine"] for row in usual if row is not None] or [np.nan])
    nearer = sum(with_lora["cosine"] > plain["cosine"] for _, plain, with_lora in pairs)
    counts = f"{len(by_person):>7}{len(pairs):>6}"
    cosines = f"{same:>9.3f}{none:>8.3f}{chosen:>8.3f}"
    print(f"{title:<30}{counts}{cosines}{change:>18}{nearer:>8}   {sharp[0]:.2f} {sharp[1]:.2f}")


def noise(found: dict[Task, dict[str, Any]]) -> None:
    """Print by how much the cosine of a portrait differs between seeds, with and without a LoRA."""
    for which in (NONE, CHOSEN):
        groups: dict[Task, list[float]] = {}
        for task, row in found.items():
            if task.setting == "default" and task.lora == which:
                groups.setdefault(replace(task, seed=0), []).append(row["cosine"])
        several = [values for values in groups.values() if len(values) > 1]
        if several:
            spread = np.sqrt(np.mean([np.var(values, ddof=1) for values in several]))
            print(f"between seeds, default, {which}: standard deviation {spread:.4f} over {len(several)} pairs")


def stopping(out: Path) -> None:
    """Print where every training would have ended early, and what that would have saved and cost."""
    print(f"{'person':<14}{'steps':>6}{'best':>6}{'ends at':>8}{'score lost':>11}{'CPU s':>8}{'saved':>7}")
    for path in sorted(out.glob("*/answer.json")):
        data = json.loads(path.read_text())
        trials = [
            Evaluation(one["step"], [], [one["similarity"]], held_out_loss=one["held_out_loss"])
            for one in data["checkpoints"]
        ]
        ends = next((count for count in range(1, len(trials) + 1) if find_overfitting(trials[:count], 3)), len(trials))
        scores = [one["score"] or 0.0 for one in data["checkpoints"][1:]]
        lost, stop = max(scores) - max(scores[: ends - 1]), trials[ends - 1].step
        saved = data["cpu_seconds"] * (1 - stop / data["steps"])
        print(f"{path.parent.name:<14}{data['steps']:>6}{data['best_step']:>6}{stop:>8}{lost:>11.4f}", end="")
        print(f"{data['cpu_seconds']:>8.0f}{saved:>7.0f}")


def sheet(out: Path, setting: str) -> Image:
    """Draw each person in each template by a setting: a photo; then template, portrait without a LoRA, and with it."""
    lines = []
    for answer in sorted(out.glob("*/answer.json")):
        cells = [read(answer.parent / "photo.png")]
        for template in TEMPLATES:
            tasks = [Task(answer.parent.name, template, setting, SEEDS[0], which) for which in (NONE, CHOSEN)]
            files = [out / "templates" / f"{template}.png", *(picture_file(out, task) for task in tasks)]
            cells += [read(file) if file.exists() else np.zeros_like(cells[0]) for file in files]
        lines.append(np.hstack(cells))
    return np.vstack(lines)


def picture_file(out: Path, task: Task) -> Path:
    """Return the file for the face of a portrait."""
    return (
        out
        / task.person
        / task.setting.replace(", ", "-").replace(" ", "-")
        / (f"{task.template}-{task.seed}-{task.lora}.png")
    )


def write_face(file: Path, image: Image, place: Place) -> None:
    """Write the face of a picture with its surroundings."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), close(image, place)[..., ::-1])


if __name__ == "__main__":
    sys.exit(main())
