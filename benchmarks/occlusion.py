"""Measures how well objects before faces are found, and how seldom a bare face is taken for one.

    python -m benchmarks.occlusion PHOTOS_FOLDER [--rounds N] [--sheet FOLDER]

The faces are those of PHOTOS_FOLDER and of packages, the objects are cut out of real pictures (`cutouts.py`); the
network was trained on neither. A row has, for a kind of object, how many are found (half of them or more), the share of
their pixels inside the face's outline that is kept, and the share of the other pixels there that is kept wrongly, with
the worst face. `bare` is the same faces without an object: what is kept of them is wrong, but for hats, hair and hands
that are in the pictures.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import insightface
import numpy as np
from skimage import data

from benchmarks.cutouts import KINDS, Covered, Cutouts
from functions.generate.face import masks
from functions.generate.face.crop import FaceCrop
from functions.generate.face.landmarks import face_width
from functions.generate.occlusion.network import OccluderNetwork
from functions.generate.occlusion.occluder import find_occluder
from shared.faces import FaceEngine
from shared.faces.loading import load_engine
from shared.imaging.array_types import Image, Mask, Points
from shared.settings import FaceSettings

SMALLEST = 48.0  # pixels; templates need as much
FOUND = 0.5  # share of an object's pixels from which it counts as found
CELL = 240  # side of a face on a sheet, in pixels


@dataclass(frozen=True, eq=False)
class Subject:
    """A face of a picture."""

    name: str
    image: Image
    landmarks: Points


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.occlusion", description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=1, help="objects of each kind before each face")
    parser.add_argument("--sheet", type=Path, help="folder for pictures of what was found")
    parser.add_argument("--engine", choices=("mesh", "dlib"), default="mesh")
    arguments = parser.parse_args()
    settings = FaceSettings(engine=arguments.engine, intra_threads=1)
    engine, network, objects = load_engine(settings), OccluderNetwork(settings), Cutouts(arguments.photos)
    subjects = list(find_subjects(arguments.photos, engine))
    print(f"{len(subjects)} faces\n\n| object | found | kept | wrongly kept | worst face |\n|---|---|---|---|---|")
    for kind in ("bare", *KINDS):
        rng = np.random.default_rng(0)
        kept, wrong, cells = [], [], []
        for subject in subjects:
            for _ in range(1 if kind == "bare" else arguments.rounds):
                covered = put(kind, subject, objects, rng)
                found = find(covered.image, subject.landmarks, network)
                there, not_there = compare(covered.alpha, found, subject.landmarks)
                if there is not None:
                    kept.append(there)
                wrong.append((not_there, subject.name))
                cells.append(draw(covered, found, subject.landmarks))
        share = f"{np.mean([one >= FOUND for one in kept]):.0%} | {np.mean(kept):.1%}" if kept else "|"
        worst = max(wrong)
        print(
            f"| {kind} | {share} | {np.mean([one for one, _ in wrong]):.2%} | {worst[0]:.1%} {worst[1]} |", flush=True
        )
        if arguments.sheet is not None:
            save_sheet(cells, arguments.sheet / f"{kind}.png")


def find_subjects(photos: Path, engine: FaceEngine) -> Iterator[Subject]:
    """Find all faces that are large enough in the pictures of the folder and of packages."""
    pictures = {path.stem: _read(path) for path in sorted(photos.rglob("*.jpg"))}
    pictures |= {"astronaut": data.astronaut(), "t1": _read(Path(insightface.__file__).parent / "data/images/t1.jpg")}
    for name, image in pictures.items():
        for number, face in enumerate(engine.detect(image)):
            if face_width(face.landmarks) >= SMALLEST:
                yield Subject(f"{name}-{number}", image, face.landmarks)


def put(kind: str, subject: Subject, objects: Cutouts, rng: np.random.Generator) -> Covered:
    """Put an object of a kind before a face; `bare` is none."""
    if kind == "bare":
        return Covered(subject.image, np.zeros(subject.image.shape[:2], np.float32))
    return objects.put(kind, subject.image, subject.landmarks, rng)


def find(image: Image, landmarks: Points, network: OccluderNetwork) -> Mask:
    """Return the mask, (H, W), of what is found before a face."""
    found = find_occluder(image, landmarks, network)
    height, width = image.shape[:2]
    return np.zeros((height, width), np.float32) if found is None else found.cut(slice(0, height), slice(0, width))


def compare(alpha: Mask, found: Mask, landmarks: Points) -> tuple[float | None, float]:
    """Return the share of the object's pixels inside the outline that is kept, and of the other pixels there.

    The first is None if less than a hundredth of the face is covered.
    """
    inside = masks.face(landmarks, (alpha.shape[0], alpha.shape[1]), 0.02, 0.0) > 0.5
    there, bare = inside & (alpha > 0.5), inside & (alpha < 0.1)
    kept = float((found[there] > 0.5).mean()) if there.sum() > 0.01 * inside.sum() else None
    return kept, float((found[bare] > 0.5).mean()) if bare.any() else 0.0


def draw(covered: Covered, found: Mask, landmarks: Points) -> Image:
    """Draw the face, and beside it the same with what is found in green."""
    crop = FaceCrop.of(covered.image, landmarks)
    tinted = crop.image.astype(np.float32)
    share = 0.75 * crop.cut(found)[..., None]
    tinted = tinted * (1 - share) + np.array([0, 255, 0], np.float32) * share
    pair = [crop.image, np.round(tinted).astype(np.uint8)]
    return np.hstack([cv2.resize(one, (CELL, CELL), interpolation=cv2.INTER_AREA) for one in pair])


def save_sheet(cells: list[Image], path: Path) -> None:
    """Save the cells in rows of four."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blank = [np.zeros_like(cells[0])] * (-len(cells) % 4)
    rows = [np.hstack([*cells, *blank][start : start + 4]) for start in range(0, len(cells), 4)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def _read(path: Path) -> Image:
    image: Image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return image


if __name__ == "__main__":
    main()
