"""Measures how well facial hair is found, on labeled faces, and fits the model that finds it.

    python -m benchmarks.facial_hair FOLDER... [--fit]

`facial_hair.csv` beside this file has labels by eye for lip, chin and jaws: 0 bare, 1 stubble or unsure, 2 hair. A
picture is named by its folder and its name without suffix, and looked for below the FOLDERs. The labels are for
official portraits of the US Congress (`portraits`), for `obama`, `families` and `groups`, for pictures that skimage,
matplotlib and insightface install, and for those in the repositories of deepface, dlib, face-api.js, facenet-pytorch
and CodeFormer. Labeled people that are not found are left out.

The people are split in two halves, SPLITS times. Each time a model is fitted to one half and judged on the other; the
first table has the means, the second one the model in use. Stubble counts neither way. `--fit` prints the model of
`functions.generate.face.facial_hair`, which is fitted to everybody.
"""

import argparse
import csv
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.pairs import SUFFIXES, read
from functions.generate.face import facial_hair, light
from shared.faces import FaceEngine
from shared.faces.loading import load_engine
from shared.imaging.array_types import Image
from shared.settings import FaceSettings

LABELS = Path(__file__).with_suffix(".csv")
REGIONS = ("moustache", "chin", "jaws")
BARE, HAIR = 0, 2
LARGEST, SMALLEST = 1600, 400  # longer side of a picture, in which the faces were numbered from left to right
SAMPLES = 60  # pixels of each region that the model is fitted to
# weights of the squared coefficients of the two models, by the figures of faces held out
RIDGE, RIDGE_OF_REGIONS = 1e-3, 1e-2
SPLITS = 6

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labeled:
    """A face with its labels.

    Attributes:
        person: who it is; all photos of a person are in one half.
        labels: of lip, chin and jaws, (3,).
        features: of the pixels of lip, chin, left and right jaw, (N, 5) each.
    """

    person: str
    labels: Sequence[int]
    features: list[facial_hair.Features]

    def in_half(self, split: int) -> bool:
        """Whether the person is in the half that the model is fitted to in that split."""
        return zlib.crc32(f"{split}{self.person}".encode()) % 2 == 0

    def describe(self, weights: Values) -> Values:
        """Return what `facial_hair.describe_regions` does, with these weights, and 1, (35,)."""
        likeness = [np.asarray(_sure(facial_hair.expand(one) @ weights), np.float32) for one in self.features]
        return np.append(facial_hair.describe_regions(self.features, likeness), 1.0)


def main() -> int:
    """Judge the model and fit it; exits with a reason if no labeled picture is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit the model to all faces and print it")
    arguments = parser.parse_args()
    faces = list(list_labeled(arguments.folders, load_engine(FaceSettings(engine="mesh"))))
    if not faces:
        sys.exit("skipped: none of the labeled pictures is below these folders")
    print(f"{len(faces)} faces; models fitted to half of the people, judged on the others:")
    show(np.mean([judge(faces, split) for split in range(SPLITS)], axis=0), faces)
    print("the model in use, which was fitted to these people too:")
    show(rate(faces, facial_hair.WEIGHTS.astype(float), facial_hair.PRESENCE.astype(float)), faces)
    if arguments.fit:
        weights, presence = fit(faces)
        print("WEIGHTS", weights.tolist(), "PRESENCE", presence.tolist(), sep="\n")
    return 0


def list_labeled(folders: Sequence[Path], engine: FaceEngine) -> Iterator[Labeled]:
    """Yield the labeled faces that are below the folders."""
    there = {
        f"{path.parent.name}/{path.stem}": path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    }
    with LABELS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["picture"] in there]
    for name in dict.fromkeys(row["picture"] for row in rows):
        picture = scaled(read(there[name]))
        found = engine.detect(picture)
        for row in rows:
            if row["picture"] == name and int(row["face"]) < len(found):
                face = facial_hair.UprightFace.of(light.to_lab(picture), found[int(row["face"])].landmarks)
                features = facial_hair.measure_features(face)
                if features is not None:
                    places = [features[where] for where in facial_hair.region_masks(face.points)]
                    yield Labeled(row["person"], [int(row[region]) for region in REGIONS], places)


def scaled(picture: Image) -> Image:
    """Return the picture with its longer side at most LARGEST, and enlarged to twice its size below SMALLEST."""
    longer = max(picture.shape[:2])
    factor = min(1.0, LARGEST / longer) if longer >= SMALLEST else 2.0
    if factor == 1:
        return picture
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized: Image = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=method)
    return resized


def fit(faces: Sequence[Labeled]) -> tuple[Values, Values]:
    """Fit the model of pixels, (21,), then the one of regions with it, (3, 35); rounded to two decimals."""
    generator = np.random.default_rng(0)
    terms, hairy = [], []
    for face in faces:
        for label, pixels in zip((*face.labels, face.labels[2]), face.features, strict=True):
            if label in (BARE, HAIR) and len(pixels):
                terms.append(facial_hair.expand(pixels[generator.choice(len(pixels), SAMPLES)]))
                hairy += [label == HAIR] * SAMPLES
    weights = np.round(regress(np.vstack(terms).astype(float), np.array(hairy), RIDGE), 2)
    described = np.array([face.describe(weights) for face in faces])
    labels = np.array([face.labels for face in faces])
    sure = [labels[:, index] != 1 for index in range(len(REGIONS))]
    presence = [
        regress(described[known], labels[known, index] == HAIR, RIDGE_OF_REGIONS) for index, known in enumerate(sure)
    ]
    return weights, np.round(presence, 2)


def regress(terms: Values, positive: NDArray[np.bool_], ridge: float) -> Values:
    """Fit a logistic regression to terms, (N, T), of which the last is 1; both classes weigh the same.

    Ridge regression on standardized terms; returned are the coefficients of the terms as they are, (T,).
    """
    middle, spread = terms.mean(axis=0), terms.std(axis=0)
    middle[-1], spread[-1] = 0.0, 1.0
    standard = (terms - middle) / spread
    weight = np.where(positive, 0.5 / positive.mean(), 0.5 / (~positive).mean()) / len(positive)
    penalty = ridge * np.append(np.ones(len(middle) - 1), 0.0)

    def loss(coefficients: Values) -> tuple[float, Values]:
        values = standard @ coefficients
        error = weight * np.logaddexp(0, np.where(positive, -values, values))
        slope = standard.T @ (weight * (_sure(values) - positive)) + 2 * penalty * coefficients
        return float(error.sum() + (penalty * coefficients**2).sum()), slope

    found = minimize(loss, np.zeros(len(middle)), jac=True, method="L-BFGS-B").x / spread
    found[-1] -= (found[:-1] * middle[:-1]).sum()
    return np.asarray(found)


def judge(faces: Sequence[Labeled], split: int) -> Values:
    """Fit a model to one half and return what it gets wrong on the other, as `rate` does."""
    weights, presence = fit([face for face in faces if face.in_half(split)])
    return rate([face for face in faces if not face.in_half(split)], weights, presence)


def rate(faces: Sequence[Labeled], weights: Values, presence: Values) -> Values:
    """Return what a model gets wrong, (3, 4): a row for each region.

    The columns: area under the curve, shares of bare regions taken for hair, of hair missed, of stubble taken for hair.
    """
    sure = np.array([_sure(presence @ face.describe(weights)) for face in faces])
    labels = np.array([face.labels for face in faces])
    found = []
    for index in range(len(REGIONS)):
        bare, stubble, hair = (sure[labels[:, index] == label, index] for label in range(3))
        area = (hair[:, None] > bare).mean()
        counts = float(facial_hair.UNSURE[index])
        found.append([area, (bare > counts).mean(), (hair <= counts).mean(), (stubble > counts).mean()])
    return np.array(found)


def show(figures: Values, faces: Sequence[Labeled]) -> None:
    """Print the figures, (3, 4), with how many faces have what."""
    print(f"{'region':<12}{'bare':>6}{'hair':>6}{'AUC':>8}{'false':>8}{'missed':>8}{'stubble taken for hair':>26}")
    for index, region in enumerate(REGIONS):
        bare, hair = (sum(face.labels[index] == label for face in faces) for label in (BARE, HAIR))
        area, *shares = figures[index]
        print(f"{region:<12}{bare:>6}{hair:>6}{area:>8.3f}" + "{:>8.1%}{:>8.1%}{:>26.1%}".format(*shares))


def _sure(values: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-values)))


if __name__ == "__main__":
    sys.exit(main())
