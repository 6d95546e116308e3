"""Measures how good the portraits are, for all pairs of people and templates, against what the product promises.

    python -m benchmarks.portraits PHOTOS_FOLDER [--people NAME...] [--templates NAME...] [--fusion-only] [--monotone]
                                   [--engine mesh|dlib] [--judge MODEL...] [--steps FIRST SECOND] [--out sheet.png]
                                   [--keep FOLDER] [--against FOLDER]
    python -m benchmarks.portraits PHOTOS_FOLDER --strangers PORTRAITS_FOLDER [--pairs 40] [--seed 1] ...

PHOTOS_FOLDER has folders of known people (`obama`, `biden`, `families`) and of templates (`groups`). With
`--strangers`, people and templates are drawn from a folder that has one portrait of each person instead. The portraits
are made by the product's code, but every person has a LoRA that changes nothing, so that no training is measured.
`--steps` are those of the diffusions, if not the product's. `--judge` names other recognizers that measure distances as
well: the folder of an insightface model, the .json file of `graph_recognizer`, or the .onnx file of `arcface`. A row
has the distance to the person before, with the default knobs and with both `more_like_me` knobs at 1.0, by each
recognizer; the sharpness of the face and the grain of its skin as shares of the template's; and what is wrong. The
means are also given over the pairs of which neither person nor template served to choose the numbers of the fusion.

`--keep` names a folder for the portraits. Those that lie there are measured and not made again, so a run that was ended
goes on where it was. `--against` names a folder that a run of another tree has kept: its portraits are measured too,
and each mean stands beside theirs, with the mean difference, its standard error, and how many pairs are nearer.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arcface import ArcFace
from benchmarks.graph_recognizer import GraphRecognizer
from benchmarks.pairs import (
    Figures,
    Place,
    Recognizer,
    Someone,
    distance,
    draw_pairs,
    measure_portrait,
    people,
    places,
    read,
    there,
)
from functions.generate import portrait
from functions.generate.models import GenerateModels
from shared.errors import RequestError
from shared.faces import Face, FaceEngine
from shared.faces.loading import load_engine
from shared.imaging.array_types import Embedding, Image
from shared.models import diffusion
from shared.settings import FaceSettings, Settings
from tests.fake_workspace import FakeWorkspace
from tests.trained_users import lora, make_trained_user

RECOGNIZED = 0.6  # dlib distance below which King (2017) considers two faces to be the same person
PROMISED_SHARE, PROMISED_MEAN, PROMISED_SHARPNESS = 0.9, 0.40, 0.8
PROMISED_SHARE_OF_MOST = 0.97  # of the portraits with both knobs at 1.0
# the people and templates that the numbers of the fusion were chosen on
TUNED_ON = {
    "obama",
    "biden",
    "Family1-Dad",
    "Family2-Lady",
    "detection1",
    "detection3",
    "detection6",
    "collins",
    "hopper",
}
DEGREES = (0.0, 0.25, 0.5, 0.75, 1.0)
SAME_ALREADY = 0.5  # distance below which the template shows the person already
CELL = 224  # side of a face on the sheet in pixels
NOISE = 0.01  # change of distance that rounding landmarks to whole pixels may cause
MOST = {"more_like_me_before": 1.0, "more_like_me": 1.0}
KNOBS: dict[str, dict[str, object]] = {"default": {}, "most": dict(MOST)}
FUSIONS_ONLY: dict[str, object] = {
    "first_denoising_strength": 0.0,
    "second_denoising_strength": 0.0,
    "skin_retouching_bool": False,
    "photo_enhancement_bool": False,
}


class Remembering:
    """A face engine that detects the faces of each picture only once, because every template is used many times."""

    def __init__(self, engine: FaceEngine) -> None:
        self._engine, self._seen = engine, dict[int, list[Face]]()
        self.name, self.same_person = engine.name, engine.same_person

    def detect(self, image: Image) -> list[Face]:
        known = hash(image.tobytes())
        if known not in self._seen:
            self._seen[known] = self._engine.detect(image)
        return self._seen[known]

    def embed(self, image: Image, face: Face) -> Embedding:
        return self._engine.embed(image, face)

    def distance(self, one: Embedding, other: Embedding) -> float:
        return self._engine.distance(one, other)


class Bench:
    """Makes portraits with the product's code; objects are in memory, and every person has a trained model."""

    def __init__(
        self, engine: FaceEngine, some: list[Someone], templates: list[Place], always: Mapping[str, object]
    ) -> None:
        settings = Settings()
        self.engine, self._always = engine, always
        self.models = GenerateModels(settings, engine, diffusion.load_model(settings.model))
        self.objects = {place.key: _png(place.picture) for place in templates}
        with tempfile.TemporaryDirectory() as folder:
            unchanged = lora(diffusion.load_model(settings.model).denoiser, folder, scale=0.0)
        for who in some:
            self.objects |= make_trained_user(who.name, who.photos, engine, unchanged, self.models.base_model)

    def make(self, who: Someone, place: Place, asked: Mapping[str, object]) -> Image:
        """Make one portrait with the given knobs, and those that are always given; RequestError if it is refused."""
        workspace = FakeWorkspace(self.objects)
        knobs: dict[str, object] = {"seed": 1, "image_format": "png"}
        knobs["user_id"] = [who.name if index == place.index else "none" for index in range(len(place.faces))]
        knobs |= {**asked, **self._always}
        body = {"request_id": "bench", "template_image": place.key, "configure": knobs}
        key = str(portrait.make_portrait(body, workspace, self.models).data["image_key"])
        made = np.asarray(cv2.imdecode(np.frombuffer(workspace.objects[key], np.uint8), cv2.IMREAD_COLOR))
        return np.ascontiguousarray(made[..., ::-1])


class Judge:
    """Measures distances with a second recognizer, on the faces that the first engine finds."""

    def __init__(self, model: str, engine: FaceEngine) -> None:
        self.name = Path(model).stem
        self._second = load_second_recognizer(model)
        self._engine = engine
        self._people: dict[str, Embedding] = {}
        self.same_person = self._second.same_person

    def person(self, who: Someone) -> Embedding:
        """Return the mean face vector of a person's photos, normalized."""
        faces = [max(self._engine.detect(photo), key=lambda face: face.box.area) for photo in who.photos]
        vectors = [self._second.embed(photo, face) for photo, face in zip(who.photos, faces, strict=True)]
        mean = np.mean(vectors, axis=0)
        unit: Embedding = mean / np.linalg.norm(mean)
        return unit

    def distance(self, image: Image, place: Place, who: Someone) -> float:
        """Return the distance to the person of the face in the template's place."""
        if who.name not in self._people:
            self._people[who.name] = self.person(who)
        return distance(self._second, image, there(self._engine.detect(image), place.face), self._people[who.name])


def load_second_recognizer(model: str) -> Recognizer:
    """Load the recognizer of a graph model's .json file, of an .onnx file, or of an insightface model's folder."""
    if model.endswith(".json"):
        return GraphRecognizer(Path(model))
    if model.endswith(".onnx"):
        return ArcFace(Path(model))
    from shared.faces.insightface import InsightfaceEngine

    return InsightfaceEngine(FaceSettings(engine="insightface", model=model, provider="cpu"))


@dataclass(frozen=True, eq=False)
class Measured:
    """A portrait's figures, and its distances by all recognizers, the engine's first."""

    figures: Figures
    distances: list[float]


@dataclass(frozen=True, eq=False)
class Row:
    """What was measured of a pair.

    Attributes:
        who, place: the person and the template.
        before: distances of the template's own face by all recognizers.
        made: the portrait by each of KNOBS.
        against: the other tree's; empty if there is none.
    """

    who: Someone
    place: Place
    before: list[float]
    made: dict[str, Measured]
    against: dict[str, Measured]


class Meter:
    """Measures portraits by the engine and by the judges."""

    def __init__(self, engine: FaceEngine, judges: Sequence[Judge]) -> None:
        self._engine, self._judges = engine, judges
        self.recognizers = {engine.name: RECOGNIZED} | {judge.name: judge.same_person for judge in judges}

    def measure_template(self, who: Someone, place: Place) -> list[float]:
        """Return the distances of the template's face to the person."""
        own = distance(self._engine, place.picture, place.face, who.embedding)
        return [own, *(judge.distance(place.picture, place, who) for judge in self._judges)]

    def measure(self, who: Someone, place: Place, image: Image) -> Measured:
        """Measure one portrait."""
        figures = measure_portrait(self._engine, place, image, who)
        return Measured(figures, [figures.distance, *(judge.distance(image, place, who) for judge in self._judges)])


class Kept:
    """Portraits in a folder, by knobs, person and template.

    Args:
        folder: None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, knobs: str, who: Someone, place: Place) -> Image | None:
        """Return the portrait, RGB, uint8, (H, W, 3); None if it is not there."""
        path = self._path(knobs, who, place)
        return read(path) if path is not None and path.exists() else None

    def write(self, knobs: str, who: Someone, place: Place, image: Image) -> None:
        """Keep the portrait; a run that is ended meanwhile leaves no half of it."""
        path = self._path(knobs, who, place)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(_png(image))
            part.replace(path)

    def _path(self, knobs: str, who: Someone, place: Place) -> Path | None:
        return None if self._folder is None else self._folder / knobs / f"{who.name}--{place.name}.png"


def main() -> int:
    """Make the portraits, measure them and print the figures; exits with a reason if there are no photos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--people", nargs="*")
    parser.add_argument("--templates", nargs="*")
    parser.add_argument("--strangers", type=Path, help="folder with one portrait of each person")
    parser.add_argument("--pairs", type=int, default=40, help="to draw from it")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing")
    parser.add_argument("--fusion-only", action="store_true", help="without diffusions and finishing")
    parser.add_argument("--steps", type=int, nargs=2, metavar=("FIRST", "SECOND"), help="of the diffusions")
    parser.add_argument("--monotone", action="store_true", help="also fuse every pair at five values of the knobs")
    parser.add_argument("--engine", choices=["mesh", "dlib"], default="mesh", help="finds faces and measures distances")
    parser.add_argument("--judge", nargs="*", default=[], help="folder of an insightface model, faceres.json, or .onnx")
    parser.add_argument("--keep", type=Path, help="folder for the portraits; those in it are not made again")
    parser.add_argument("--against", type=Path, help="such a folder of another tree")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.photos.is_dir():
        sys.exit(f"skipped: no folder {arguments.photos}")
    engine = Remembering(load_engine(FaceSettings(engine=arguments.engine)))
    pairs = list_pairs(arguments, engine)
    some, templates = (list(dict.fromkeys(column)) for column in zip(*pairs, strict=True))
    always: dict[str, object] = dict(FUSIONS_ONLY) if arguments.fusion_only else {}
    if arguments.steps:
        always |= dict(zip(("first_diffusion_steps", "second_diffusion_steps"), arguments.steps, strict=True))
    bench = Bench(engine, some, templates, always)
    meter = Meter(engine, [Judge(model, engine) for model in arguments.judge])
    rows, cells = make_portraits(bench, pairs, meter, Kept(arguments.keep), Kept(arguments.against))
    if rows:
        summary(rows, meter)
    if arguments.monotone:
        monotony(bench, rows)
    if arguments.out and cells:
        sheet(cells, [] if arguments.strangers else [who.name for who in some], arguments.out)
    return 0


def list_pairs(arguments: argparse.Namespace, engine: FaceEngine) -> list[tuple[Someone, Place]]:
    """Return the pairs of person and template that the arguments ask for."""
    if arguments.strangers:
        return draw_pairs(arguments.strangers, engine, arguments.pairs, arguments.seed)
    some = [one for one in people(arguments.photos, engine) if not arguments.people or one.name in arguments.people]
    templates = [
        one for one in places(arguments.photos, engine) if not arguments.templates or one.name in arguments.templates
    ]
    return [(who, place) for place, who in product(templates, some)]


def make_portraits(
    bench: Bench, pairs: list[tuple[Someone, Place]], meter: Meter, kept: Kept, others: Kept
) -> tuple[list[Row], dict[str, list[Image]]]:
    """Make each pair's portraits that are not kept yet; print each row, and return the rows and faces for the sheet."""
    print("person            template          by each recognizer: before default most;  sharp grain")
    rows: list[Row] = []
    cells: dict[str, list[Image]] = {}
    for who, place in pairs:
        faces = cells.setdefault(place.name, [close(place.picture, place)])
        before = meter.measure_template(who, place)
        if before[0] < SAME_ALREADY:
            faces.append(np.zeros((CELL, 2 * CELL, 3), np.uint8))
            continue
        try:
            made = {name: make_once(bench, who, place, name, kept) for name in KNOBS}
        except RequestError as error:
            print(f"{who.name:<18}{place.name:<18}refused: {error.message}")
            continue
        theirs = {name: image for name in KNOBS if (image := others.read(name, who, place)) is not None}
        measured, against = (
            {name: meter.measure(who, place, image) for name, image in images.items()} for images in (made, theirs)
        )
        rows.append(Row(who, place, before, measured, against))
        print(line(rows[-1]), flush=True)
        faces.append(np.hstack([close(image, place) for image in made.values()]))
    return rows, cells


def make_once(bench: Bench, who: Someone, place: Place, name: str, kept: Kept) -> Image:
    """Return the kept portrait with these of KNOBS, or make it and keep it; RequestError if it is refused."""
    image = kept.read(name, who, place)
    if image is None:
        image = bench.make(who, place, KNOBS[name])
        kept.write(name, who, place, image)
    return image


def line(row: Row) -> str:
    """Format a row of the table."""
    default, most = (row.made[name].figures for name in KNOBS)
    wrong = [] if default.found and most.found else ["no face"]
    wrong += [] if default.identical and most.identical else ["differs outside"]
    wrong += ["soft"] if default.sharpness < PROMISED_SHARPNESS else []
    wrong += ["far"] if max(default.distance, most.distance) >= RECOGNIZED else []
    by_recognizer = zip(row.before, *(row.made[name].distances for name in KNOBS), strict=True)
    text = "; ".join(" ".join(f"{value:.3f}" for value in values) for values in by_recognizer)
    return f"{row.who.name:<18}{row.place.name:<18}{text};  {default.sharpness:.2f} {default.grain:.2f}  " + ", ".join(
        wrong
    )


def summary(rows: list[Row], meter: Meter) -> None:
    """Print the figures next to what is promised, over all pairs and over those that were not tuned on."""
    print_likeness("all pairs", rows, meter)
    held_out = [row for row in rows if not {row.who.name, row.place.name} & TUNED_ON]
    if held_out and len(held_out) < len(rows):
        print_likeness("held out", held_out, meter)
    print_pictures("now", [row.made for row in rows])
    if any(row.against for row in rows):
        print_pictures("against", [row.against for row in rows if row.against])
    print(
        f"promised: {PROMISED_SHARE:.0%} recognized with the default knobs; both 1.0: mean {PROMISED_MEAN}, "
        f"{PROMISED_SHARE_OF_MOST:.0%} below {RECOGNIZED}; sharpness from {PROMISED_SHARPNESS}"
    )


def print_likeness(title: str, rows: list[Row], meter: Meter) -> None:
    """Print the mean distances of these pairs by each recognizer, and how many portraits it recognizes."""
    print(f"{title}: {len(rows)}")
    for place, (recognizer, same) in enumerate(meter.recognizers.items()):
        before = np.mean([row.before[place] for row in rows])
        print(f"  {recognizer} (same person below {same}), before: mean {before:.3f}")
        for name in KNOBS:
            own = np.array([row.made[name].distances[place] for row in rows])
            text = f"mean {own.mean():.3f}, worst {own.max():.3f}, recognized {np.mean(own < same):.1%}"
            both = [row for row in rows if name in row.against]
            if both:
                now, then = (
                    np.array([one[name].distances[place] for one in column])
                    for column in zip(*((row.made, row.against) for row in both), strict=True)
                )
                change = now - then
                error = change.std() / np.sqrt(len(change))
                text += (
                    f"; against mean {then.mean():.3f}, worst {then.max():.3f}, recognized {np.mean(then < same):.1%}"
                )
                text += f": {change.mean():+.4f} ± {error:.4f}, nearer {np.sum(change < 0)} of {len(change)}"
            print(f"    {name}: {text}")


def print_pictures(title: str, portraits: list[dict[str, Measured]]) -> None:
    """Print how sharp these portraits are, and what is wrong with them."""
    for name in KNOBS:
        figures = [one[name].figures for one in portraits if name in one]
        sharp = np.array([one.sharpness for one in figures])
        lost, changed = (
            sum(not flag for flag in flags)
            for flags in zip(*((one.found, one.identical) for one in figures), strict=True)
        )
        print(
            f"{title}, {name}: sharpness mean {sharp.mean():.2f}, least {sharp.min():.2f}, "
            f"below {PROMISED_SHARPNESS} in {np.sum(sharp < PROMISED_SHARPNESS)} of {len(figures)}; "
            f"no face in {lost}; pixels outside differ in {changed}"
        )


def monotony(bench: Bench, rows: list[Row]) -> None:
    """Print each pair's distances at all DEGREES of the knobs with fusions only, and the mean distances at the end."""
    print("by degree" + " " * 29 + " ".join(f"{degree:>5}" for degree in DEGREES))
    for title, knobs in (("both", ("more_like_me_before", "more_like_me")), ("more_like_me alone", ("more_like_me",))):
        curves = [stepwise(bench, row, title, knobs) for row in rows]
        back = np.diff(curves, axis=1).max(axis=1)
        means = " ".join(f"{mean:.3f}" for mean in np.mean(curves, axis=0))
        print(f"{title}: means {means}; of {len(rows)} pairs {(back <= 0).sum()} come nearer at every step")
        print(f"{title}: {(back > NOISE).sum()} go back by more than {NOISE}, the most by {max(back.max(), 0):.3f}")


def stepwise(bench: Bench, row: Row, title: str, knobs: Sequence[str]) -> list[float]:
    """Print and return the distances of one pair at all DEGREES of these knobs, with the others off."""
    who, place = row.who, row.place
    off = dict.fromkeys(("more_like_me_before", "more_like_me"), 0.0)
    images = [bench.make(who, place, off | dict.fromkeys(knobs, degree) | FUSIONS_ONLY) for degree in DEGREES]
    distances = [measure_portrait(bench.engine, place, image, who).distance for image in images]
    back = max(after - before for before, after in pairwise(distances))
    marked = f"  back by {back:.3f}" if back > 0 else ""
    shown = " ".join(f"{one:.3f}" for one in distances)
    print(f"{title:<20}{who.name:<18}{place.name:<18}{shown}{marked}", flush=True)
    return distances


def sheet(cells: dict[str, list[Image]], names: list[str], path: Path) -> None:
    """Write the sheet: a row per template with its face, then its portraits by default and at 1.0, below the names."""
    width = CELL * max(1 + 2 * len(names), *(2 * len(row) - 1 for row in cells.values()))
    rows = [np.zeros((24, width, 3), np.uint8)]
    for index, name in enumerate(names):
        cv2.putText(rows[0], name, (CELL * (1 + 2 * index) + 4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    for row in cells.values():
        joined = np.hstack(row)
        rows.append(cv2.copyMakeBorder(joined, 0, 0, 0, width - joined.shape[1], cv2.BORDER_CONSTANT))
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def close(image: Image, place: Place) -> Image:
    """Return the face with its surroundings, CELL pixels high and wide."""
    side = place.face.box.square(1.9)
    scale = CELL / side.width
    matrix = np.array([[scale, 0, -side.left * scale], [0, scale, -side.top * scale]])
    shrunk = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.7 else image
    cell: Image = cv2.warpAffine(shrunk, matrix, (CELL, CELL), flags=cv2.INTER_CUBIC)
    return cell


def _png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", image[..., ::-1])[1])


if __name__ == "__main__":
    sys.exit(main())
