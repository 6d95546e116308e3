"""Measures how well landmarks follow a rotation: faces rotated by -60 to 60 degrees, as jpg of several qualities.

    python -m benchmarks.tilt [FOLDER] [--engine mesh] [--step 5] [--sheet FILE]

The faces are those in pictures that installed packages ship, and the largest one in each picture of FOLDER. A face is
measured first in the original picture, then in the picture rotated around it. For every tilt the table shows how often
the face was not found, and otherwise median and worst of

- the change of the brows' height above the eyes, in eye distances; a tilt should not change it;
- the change of the roll minus the tilt, in degrees;
- the mean distance of the landmarks, rotated back, to the original ones, in eye distances.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pairs import SUFFIXES, read, there
from shared.faces import Box, Face, FaceEngine
from shared.faces.base import largest
from shared.faces.face_crop import crop_face
from shared.faces.loading import load_engine
from shared.faces.rotation import measure_roll, turn_back, turn_upright
from shared.imaging.array_types import Image, Points
from shared.settings import FaceSettings
from tests import pictures

MOST = 60  # degrees to either side
QUALITIES = (80, 90, 95)
FACE, SIDE = 120, 480  # sides in pixels of the face and of the rotated square, which always holds the whole head
ROW = "{:>6}{:>8}{:>9}{:>16}{:>16}{:>16}"
TORN = 0.1  # error of the landmarks in eye distances that is visible in a portrait


@dataclass(frozen=True, eq=False)
class Measured:
    """A face in the middle of its square picture, with the landmarks found before any rotation."""

    name: str
    image: Image
    landmarks: Points


@dataclass(frozen=True)
class Difference:
    """The change of the landmarks by a rotation, in the units of the module's list."""

    brow: float
    roll: float
    landmarks: float


def main() -> None:
    """Measure and print the table; with `--sheet`, draw the landmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="more pictures of faces, besides those in packages")
    parser.add_argument("--engine", choices=["mesh", "dlib", "insightface"], default="mesh")
    parser.add_argument("--step", type=int, default=5, help="degrees between two tilts")
    parser.add_argument("--sheet", type=Path, help="a PNG with the landmarks of each face at each tilt")
    arguments = parser.parse_args()
    engine = load_engine(FaceSettings(engine=arguments.engine))
    faces = list(measure_faces(engine, arguments.folder))
    print(f"{len(faces)} faces at jpg qualities {', '.join(map(str, QUALITIES))}, {engine.name}; median and worst")
    print(ROW.format("tilt", "looks", "missing", "brow height", "roll", "landmarks"))
    everything: list[Difference | None] = []
    for tilt in range(-MOST, MOST + 1, arguments.step):
        found = [difference(engine, face, tilt, quality) for face in faces for quality in QUALITIES]
        print(row(str(tilt), found), flush=True)
        everything += found
    print(row("all", everything))
    torn = sum(one is None or one.landmarks > TORN for one in everything)
    print(f"not found, or landmarks off by more than {TORN} eye distances: {torn} of {len(everything)} looks")
    if arguments.sheet is not None:
        draw(engine, faces, arguments.step, arguments.sheet)


def measure_faces(engine: FaceEngine, folder: Path | None) -> Iterator[Measured]:
    """Yield the faces, FACE pixels wide, each in the middle of a square of SIDE pixels."""
    group = pictures.group()
    shown: list[tuple[str, Image, Face | None]] = [("collins", pictures.astronaut(), None)]
    shown.append(("hopper", pictures.hopper(), None))
    shown += [(f"friend {number}", group, face) for number, face in enumerate(engine.detect(group), 1)]
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        shown += [(path.stem, read(path), None) for path in paths]
    for name, picture, one in shown:
        face = one or largest(engine.detect(picture) or [Face(Box(0, 0, 1, 1), np.zeros((68, 2)), 0.0)])
        square = crop_face(picture, face.box, FACE, SIDE).image
        found = middle(engine, square)
        if found is None:
            print(f"left out: {name} shows no face", file=sys.stderr)
        else:
            yield Measured(name, square, found.landmarks)


def difference(engine: FaceEngine, face: Measured, tilt: float, quality: int) -> Difference | None:
    """Return what a clockwise rotation by `tilt` degrees changes; None if no face is found."""
    found = middle(engine, rotate(face.image, tilt, quality))
    if found is None:
        return None
    back = turn_back(found.landmarks, face.image, -tilt)
    apart = np.linalg.norm(back - face.landmarks, axis=1).mean() / eye_distance(face.landmarks)
    off = (measure_roll(found.landmarks) - measure_roll(face.landmarks) - tilt + 180) % 360 - 180
    return Difference(brow_height(found.landmarks) - brow_height(face.landmarks), float(off), float(apart))


def rotate(image: Image, tilt: float, quality: int) -> Image:
    """Rotate the square clockwise around its center, then compress it as a jpg of this quality."""
    _, data = cv2.imencode(".jpg", turn_upright(image, -tilt), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def middle(engine: FaceEngine, square: Image) -> Face | None:
    """Return the face in the middle of the square, which may also show others; None if it is not found."""
    half, reach = SIDE / 2, FACE / 2
    return there(
        engine.detect(square), Face(Box(half - reach, half - reach, half + reach, half + reach), np.zeros((68, 2)), 0)
    )


def brow_height(landmarks: Points) -> float:
    """Return the mean distance of the brows from the line through the eyes, in eye distances."""
    left, right = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    x, y = (right - left) / np.linalg.norm(right - left)
    return float(((landmarks[17:27] - left) @ [y, -x]).mean() / eye_distance(landmarks))


def eye_distance(landmarks: Points) -> float:
    """Return the distance between the centers of the eyes in pixels."""
    return float(np.linalg.norm(landmarks[42:48].mean(axis=0) - landmarks[36:42].mean(axis=0)))


def row(title: str, found: list[Difference | None]) -> str:
    """Format a row of the table."""
    seen = [one for one in found if one is not None]
    figures = np.abs([(one.brow, one.roll, one.landmarks) for one in seen]) if seen else np.full((1, 3), np.nan)
    columns = [f"{np.median(column):.3f} {column.max():.3f}" for column in figures.T]
    return ROW.format(title, len(found), len(found) - len(seen), *columns)


def draw(engine: FaceEngine, faces: list[Measured], step: int, path: Path) -> None:
    """Draw the faces with their landmarks, one row per face and one column per tilt."""
    rows = []
    for face in faces:
        views = []
        for tilt in range(-MOST, MOST + 1, step):
            view = rotate(face.image, tilt, QUALITIES[1])
            found = middle(engine, view)
            for x, y in [] if found is None else found.landmarks:
                cv2.circle(view, (round(x), round(y)), 1, (0, 255, 0), cv2.FILLED)
            part = view[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
            views.append(cv2.resize(part, (160, 160), interpolation=cv2.INTER_AREA))
        rows.append(np.hstack(views))
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
