"""Measures whether faces of which something hides a half are found, where nobody is, and the right way up.

    python -m benchmarks.hidden_faces [FOLDER...] [--every 1] [--from 0] [--sheet FILE]

The faces are those in pictures that installed packages ship, and in each picture of the folders that shows one; of them
every n-th, so that what is tuned on one part is judged on another. Before each face a thing is drawn
that hides a part of it (`tests.hiding`). A face is found if one is where it was; the table says of each thing how many
were found without the second search and with it, the median and the worst error of the landmarks in eye distances, of
all of them, the hidden ones too, and how many faces were found elsewhere. Three more rows must be 0:

- hidden faces upside down and at 135 degrees, of which an upright face was found,
- faces that are painted over as a whole, in the color of their skin, of a gray wall, or as a blur,
- pictures of packages without anybody.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from benchmarks.pairs import SUFFIXES, read
from shared.faces import Face
from shared.faces.blazeface import Candidate
from shared.faces.face_crop import crop_face
from shared.faces.face_mesh import Look
from shared.faces.hidden_face import HiddenFaces
from shared.faces.mesh import MeshEngine
from shared.faces.rotation import measure_roll, turn_upright
from shared.imaging.array_types import Image
from shared.settings import FaceSettings
from tests import hiding, pictures

ROW = "{:<22}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}"
NEAR = 0.5  # distance from the face that was, in widths of it, up to which a face is that one
WRONG_WAY = 60.0  # degrees of roll, below which a face that is upside down was taken for an upright one
FACE, SIDE = 150, 500  # sides in pixels of the face and of the square that is rotated
EMPTY = (
    *("brick", "cat", "clock", "coffee", "coins", "colorwheel", "grass", "gravel", "hubble_deep_field", "moon"),
    *("horse", "immunohistochemistry", "page", "retina", "rocket", "text", "logo", "checkerboard", "cell"),
)
TILE = 200  # pixels, side of a picture on the sheet


@dataclass
class Tally:
    """What became of the pictures with one thing."""

    shown: int = 0
    at_once: int = 0
    errors: list[float] = field(default_factory=list)
    elsewhere: int = 0


class CountingSearch(HiddenFaces):
    """The second search, which tells whether the last picture needed it."""

    used = False

    def find(self, image: Image, candidates: Sequence[Candidate]) -> list[tuple[Look, float]]:
        """Search and remember it."""
        object.__setattr__(self, "used", True)
        return super().find(image, candidates)


class CountingEngine(MeshEngine):
    """The default engine, which tells how a face was found."""

    def __init__(self) -> None:
        super().__init__(FaceSettings(engine="mesh", provider="cpu", intra_threads=1))
        self.second = CountingSearch(self._detector, self._mesh)
        self._hidden = self.second

    def find(self, image: Image) -> tuple[list[Face], bool]:
        """Return the faces, and whether they were found without the second search."""
        object.__setattr__(self.second, "used", False)
        return self.detect(image), not self.second.used


def main() -> None:
    """Measure and print the tables; with `--sheet`, draw the landmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N")
    parser.add_argument("--sheet", type=Path, help="picture of the second search's faces, and of those not found")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    engine = CountingEngine()
    whole = list(faces(arguments.folders, arguments.every, arguments.first, engine))
    print(ROW.format(f"{len(whole)} faces", "shown", "at once", "found", "median", "worst", "others"))
    drawn: list[Image] = []
    tallies = [print_thing(thing, whole, engine, drawn) for thing in hiding.SHAPES]
    errors = [error for one in tallies for error in one.errors]
    total = Tally(
        sum(t.shown for t in tallies), sum(t.at_once for t in tallies), errors, sum(t.elsewhere for t in tallies)
    )
    print_tally("all", total)
    print_wrong("the wrong way up", wrong_ways(whole, engine))
    print_wrong("painted over", [engine.find(image) for image in paint_over(whole)])
    print_wrong("nobody there", [engine.find(image) for image in empty_pictures()])
    if arguments.sheet and drawn:
        write_sheet(arguments.sheet, drawn)


def faces(folders: list[Path], every: int, first: int, engine: MeshEngine) -> Iterator[tuple[Image, Face]]:
    """Yield pictures that show one face, and it."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for image in (pictures.astronaut(), pictures.hopper(), *(read(path) for path in paths[first::every])):
        found = engine.detect(image)
        if len(found) == 1:
            yield image, found[0]


def print_thing(thing: str, whole: list[tuple[Image, Face]], engine: CountingEngine, drawn: list[Image]) -> Tally:
    """Hide all faces behind one kind of thing, search them, print the row; append what is worth a look to `drawn`."""
    tally = Tally()
    for (image, face), stuff in zip(whole, cycle(hiding.STUFFS[thing]), strict=False):
        hidden = hiding.hide(image, face, thing, stuff)
        found, at_once = engine.find(hidden)
        same = [one for one in found if apart(one, face) <= NEAR * face.box.width]
        tally.shown += 1
        tally.at_once += bool(same) and at_once
        tally.errors += [landmark_error(one, face) for one in same[:1]]
        tally.elsewhere += len(found) - len(same[:1])
        if not (same and at_once):
            drawn.append(draw(hidden, same, face))
    print_tally(thing, tally)
    return tally


def wrong_ways(whole: list[tuple[Image, Face]], engine: CountingEngine) -> Iterator[tuple[list[Face], bool]]:
    """Yield the upright faces found in hidden faces that are not."""
    for (image, face), thing, degrees in zip(whole * 2, cycle(hiding.SHAPES), cycle((180, 135)), strict=False):
        hidden = hiding.hide(image, face, thing, hiding.STUFFS[thing][0])
        view = crop_face(hidden, face.box, FACE, SIDE).image
        found, at_once = engine.find(turn_upright(view, -degrees))
        yield [one for one in found if abs(measure_roll(one.landmarks)) <= WRONG_WAY], at_once


def paint_over(whole: list[tuple[Image, Face]]) -> Iterator[Image]:
    """Yield the pictures with their faces covered from the hair to the chin, in one of three ways."""
    for (image, face), way in zip(whole, cycle(("skin", "wall", "blur")), strict=False):
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        (across, down), width = face.box.center, face.box.width
        covered = ((x - across) / (0.8 * width)) ** 2 + ((y - down) / (0.95 * width)) ** 2 < 1
        skin = np.median(image[(abs(x - across) < 0.3 * width) & (abs(y - down) < 0.2 * width)], axis=0)
        layer = {"skin": skin, "wall": 128, "blur": cv2.GaussianBlur(image, (0, 0), 0.35 * width)}[way]
        share = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), max(0.02 * width, 0.5))[..., None]
        yield np.round(image * (1 - share) + layer * share).astype(np.uint8)


def empty_pictures() -> Iterator[Image]:
    """Yield pictures of skimage that show nobody, in three sizes."""
    for name in EMPTY:
        image = getattr(skimage.data, name)()
        gray = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        pixels = np.ascontiguousarray((gray[..., :3] * (255 if gray.dtype == bool else 1)).astype(np.uint8))
        yield from (cv2.resize(pixels, None, fx=f, fy=f, interpolation=cv2.INTER_AREA) for f in (1, 0.5, 0.25))


def apart(one: Face, other: Face) -> float:
    """Return the distance of two faces' centers in pixels."""
    return float(np.hypot(*(one.landmarks.mean(axis=0) - other.landmarks.mean(axis=0))))


def landmark_error(one: Face, true: Face) -> float:
    """Return the mean distance of the landmarks in eye distances of the true face."""
    eyes = true.landmarks[36:42].mean(axis=0) - true.landmarks[42:48].mean(axis=0)
    return float(np.linalg.norm(one.landmarks - true.landmarks, axis=1).mean() / np.linalg.norm(eyes))


def print_tally(title: str, tally: Tally) -> None:
    """Print a row of the first table."""
    errors = [f"{np.median(tally.errors):.3f}", f"{max(tally.errors):.3f}"] if tally.errors else ["", ""]
    print(ROW.format(title, tally.shown, tally.at_once, len(tally.errors), *errors, tally.elsewhere), flush=True)


def print_wrong(title: str, searches: Iterable[tuple[list[Face], bool]]) -> None:
    """Print how many pictures show a face that is none."""
    results = list(searches)
    at_once = sum(bool(found) and first for found, first in results)
    wrong = sum(bool(found) for found, _ in results)
    print(ROW.format(title, len(results), at_once, wrong, "", "", ""), flush=True)


def draw(image: Image, found: list[Face], true: Face) -> Image:
    """Return the face's surroundings with the landmarks in green, or without any."""
    view = crop_face(image, true.box, TILE // 2, TILE)
    made = view.image.copy()
    for face in found[:1]:
        for x, y in view.inwards(face.landmarks).round().astype(int).tolist():
            cv2.circle(made, (x, y), 1, (0, 255, 0), -1)
    return made


def write_sheet(path: Path, drawn: list[Image]) -> None:
    """Write all tiles, ten in a row."""
    tiles = drawn + [np.zeros((TILE, TILE, 3), np.uint8)] * (-len(drawn) % 10)
    sheet = np.vstack([np.hstack(tiles[at : at + 10]) for at in range(0, len(tiles), 10)])
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
