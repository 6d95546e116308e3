"""Measures how good the portraits are, for all pairs of people and templates, against what the product promises.

    python -m benchmarks.portraits PHOTOS_FOLDER [--people NAME...] [--templates NAME...] [--fusion-only] [--monotone]
                                   [--engine mesh|dlib] [--judge MODEL] [--out sheet.png]

PHOTOS_FOLDER has folders of known people (`obama`, `biden`, `families`) and of templates (`groups`). The portraits are
made by the product's code, but every person has a LoRA that changes nothing, so that no training is measured. `--judge`
names a second recognizer that then measures distances as well: the folder of an insightface model, or the .json file of
`graph_recognizer`. A row has the distance to the person before, with the default knobs and with both `more_like_me`
knobs at 1.0; the sharpness of the face and the grain of its skin as shares of the template's; and what is wrong. The
means are also given over the pairs of which neither person nor template served to choose the numbers of the fusion.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np

from benchmarks.graph_recognizer import GraphRecognizer
from benchmarks.pairs import Figures, Place, Recognizer, Someone, distance, measure_portrait, people, places, there
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

    def __init__(self, engine: FaceEngine, some: list[Someone], templates: list[Place], fusion_only: bool) -> None:
        settings = Settings()
        self.engine, self.fusion_only = engine, fusion_only
        self.models = GenerateModels(settings, engine, diffusion.load_model(settings.model))
        self.objects = {place.key: _png(place.picture) for place in templates}
        with tempfile.TemporaryDirectory() as folder:
            unchanged = lora(diffusion.load_model(settings.model).denoiser, folder, scale=0.0)
        for who in some:
            self.objects |= make_trained_user(who.name, who.photos, engine, unchanged, self.models.base_model)

    def make(self, who: Someone, place: Place, asked: Mapping[str, object]) -> Image:
        """Make one portrait with the given knobs and the defaults for the others; RequestError if it is refused."""
        workspace = FakeWorkspace(self.objects)
        knobs: dict[str, object] = {"seed": 1, "image_format": "png"}
        knobs["user_id"] = [who.name if index == place.index else "none" for index in range(len(place.faces))]
        knobs |= {**asked, **FUSIONS_ONLY} if self.fusion_only else asked
        body = {"request_id": "bench", "template_image": place.key, "configure": knobs}
        key = str(portrait.make_portrait(body, workspace, self.models).data["image_key"])
        made = np.asarray(cv2.imdecode(np.frombuffer(workspace.objects[key], np.uint8), cv2.IMREAD_COLOR))
        return np.ascontiguousarray(made[..., ::-1])


class Judge:
    """Measures distances with a second recognizer, on the faces that the first engine finds."""

    def __init__(self, model: str, engine: FaceEngine) -> None:
        self._second = load_second_recognizer(model)
        self._engine = engine
        self.same_person = self._second.same_person

    def person(self, who: Someone) -> Embedding:
        """Return the mean face vector of a person's photos, normalized."""
        faces = [max(self._engine.detect(photo), key=lambda face: face.box.area) for photo in who.photos]
        vectors = [self._second.embed(photo, face) for photo, face in zip(who.photos, faces, strict=True)]
        mean = np.mean(vectors, axis=0)
        unit: Embedding = mean / np.linalg.norm(mean)
        return unit

    def distance(self, image: Image, place: Place, person: Embedding) -> float:
        """Return the distance to the person of the face in the template's place."""
        return distance(self._second, image, there(self._engine.detect(image), place.face), person)


def load_second_recognizer(model: str) -> Recognizer:
    """Load the recognizer of a graph model's .json file or of an insightface model's folder."""
    if model.endswith(".json"):
        return GraphRecognizer(Path(model))
    from shared.faces.insightface import InsightfaceEngine

    return InsightfaceEngine(FaceSettings(engine="insightface", model=model, provider="cpu"))


Row = tuple[Someone, Place, float, Figures, Figures, list[float]]
"""Person, template, distance before, figures by default and at 1.0, and the judge's distances, if there is a judge."""


def main() -> int:
    """Make the portraits, measure them and print the figures; exits with a reason if there are no photos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--people", nargs="*")
    parser.add_argument("--templates", nargs="*")
    parser.add_argument("--fusion-only", action="store_true", help="without diffusions and finishing")
    parser.add_argument("--monotone", action="store_true", help="also fuse every pair at five values of the knobs")
    parser.add_argument("--engine", choices=["mesh", "dlib"], default="mesh", help="finds faces and measures distances")
    parser.add_argument("--judge", help="folder of an insightface model, or faceres.json")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.photos.is_dir():
        sys.exit(f"skipped: no folder {arguments.photos}")
    engine = Remembering(load_engine(FaceSettings(engine=arguments.engine)))
    some = [one for one in people(arguments.photos, engine) if not arguments.people or one.name in arguments.people]
    templates = [
        one for one in places(arguments.photos, engine) if not arguments.templates or one.name in arguments.templates
    ]
    bench = Bench(engine, some, templates, arguments.fusion_only)
    judge = Judge(arguments.judge, engine) if arguments.judge else None
    rows, cells = make_portraits(bench, some, templates, judge)
    if rows:
        summary(rows, judge)
    if arguments.monotone:
        monotony(bench, rows)
    if arguments.out and cells:
        sheet(cells, [who.name for who in some], arguments.out)
    return 0


def make_portraits(
    bench: Bench, some: list[Someone], templates: list[Place], judge: Judge | None
) -> tuple[list[Row], dict[str, list[Image]]]:
    """Portray everybody in every template; print each row, and return the rows and the faces for the sheet."""
    print(
        f"{'person':<18}{'template':<18}{'before':>8}{'default':>8}{'1.0':>7}  sharp grain  judge: before default 1.0"
    )
    rows: list[Row] = []
    cells: dict[str, list[Image]] = {}
    opinions = {who.name: judge.person(who) for who in some} if judge else {}
    for place, who in product(templates, some):
        before = distance(bench.engine, place.picture, place.face, who.embedding)
        if before < SAME_ALREADY:
            cells.setdefault(place.name, [close(place.picture, place)]).append(np.zeros((CELL, 2 * CELL, 3), np.uint8))
            continue
        try:
            made = [bench.make(who, place, knobs) for knobs in ({}, MOST)]
        except RequestError as error:
            print(f"{who.name:<18}{place.name:<18}refused: {error.message}")
            continue
        figures = [measure_portrait(bench.engine, place, image, who) for image in made]
        seen = [judge.distance(image, place, opinions[who.name]) for image in (place.picture, *made)] if judge else []
        rows.append((who, place, before, figures[0], figures[1], seen))
        print(line(rows[-1]), flush=True)
        faces = np.hstack([close(image, place) for image in made])
        cells.setdefault(place.name, [close(place.picture, place)]).append(faces)
    return rows, cells


def line(row: Row) -> str:
    """Format a row of the table."""
    who, place, before, default, most, seen = row
    wrong = [] if default.found and most.found else ["no face"]
    wrong += [] if default.identical and most.identical else ["differs outside"]
    wrong += ["soft"] if default.sharpness < PROMISED_SHARPNESS else []
    wrong += ["far"] if max(default.distance, most.distance) >= RECOGNIZED else []
    text = f"{who.name:<18}{place.name:<18}{before:>8.3f}{default.distance:>8.3f}{most.distance:>7.3f}"
    text += f"  {default.sharpness:5.2f} {default.grain:5.2f}  " + " ".join(f"{value:.3f}" for value in seen)
    return text + "  " + ", ".join(wrong)


def summary(rows: list[Row], judge: Judge | None) -> None:
    """Print the figures next to what is promised, over all pairs and over those that were not tuned on."""
    print_likeness("all pairs", rows, judge)
    held_out = [row for row in rows if not {row[0].name, row[1].name} & TUNED_ON]
    if held_out and len(held_out) < len(rows):
        print_likeness("held out", held_out, judge)
    sharp = np.array([row[3].sharpness for row in rows])
    found = all(row[3].found and row[4].found for row in rows)
    identical = all(row[3].identical and row[4].identical for row in rows)
    soft = np.sum(sharp < PROMISED_SHARPNESS)
    print(f"sharpness: least {sharp.min():.2f} (>= {PROMISED_SHARPNESS}), below in {soft}")
    print(f"face detected in all: {found}; pixels outside identical: {identical}")


def print_likeness(title: str, rows: list[Row], judge: Judge | None) -> None:
    """Print the mean distances of these pairs and how many portraits are recognized."""
    default, most = (
        np.array([figures.distance for figures in column]) for column in zip(*(row[3:5] for row in rows), strict=True)
    )
    shares = np.mean(default < RECOGNIZED), np.mean(most < RECOGNIZED)
    print(f"{title}: {len(rows)}; mean distance before {np.mean([row[2] for row in rows]):.3f}")
    print(f"  default knobs: mean {default.mean():.3f}, recognized {shares[0]:.1%} (>= {PROMISED_SHARE:.0%})")
    print(
        f"  both 1.0: mean {most.mean():.3f} (<= {PROMISED_MEAN}), worst {most.max():.3f} (< {RECOGNIZED}), "
        f"recognized {shares[1]:.1%} (>= {PROMISED_SHARE_OF_MOST:.0%})"
    )
    if judge:
        opinions = np.array([row[5] for row in rows])
        accepted = ", ".join(f"{share:.0%}" for share in (opinions < judge.same_person).mean(axis=0))
        means = ", ".join(f"{mean:.3f}" for mean in opinions.mean(axis=0))
        print(f"  judge, before, default, 1.0: means {means}; below {judge.same_person}: {accepted}")


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
    who, place, *_ = row
    off = dict.fromkeys(("more_like_me_before", "more_like_me"), 0.0)
    images = [bench.make(who, place, off | dict.fromkeys(knobs, degree) | FUSIONS_ONLY) for degree in DEGREES]
    distances = [measure_portrait(bench.engine, place, image, who).distance for image in images]
    back = max(after - before for before, after in pairwise(distances))
    marked = f"  back by {back:.3f}" if back > 0 else ""
    shown = " ".join(f"{one:.3f}" for one in distances)
    print(f"{title:<20}{who.name:<18}{place.name:<18}{shown}{marked}", flush=True)
    return distances


def sheet(cells: dict[str, list[Image]], names: list[str], path: Path) -> None:
    """Write the sheet: a row per template with its face, then everybody's portraits by default and at 1.0."""
    width = CELL * (1 + 2 * len(names))
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
