"""Measures how well facial hair is found, on labeled faces, and fits the model that finds it.

    python -m benchmarks.facial_hair FOLDER... [--fit]

`facial_hair.csv` beside this file has labels by eye for lip, chin and jaws: 0 bare, 1 stubble or unsure, 2 hair. A
picture is named by its folder and its name without suffix, and looked for below the FOLDERs. The labels are for
official portraits of the US Congress (`portraits`), for `obama`, `families` and `groups`, for pictures that skimage,
matplotlib and insightface install, and for those in the repositories of deepface, dlib, face-api.js, facenet-pytorch
and CodeFormer. Labeled people that are not found are left out.

The people are split in two halves. `--fit` prints the model of `functions.generate.face.facial_hair` as fitted to the
first; the table has both, and only the second says how good the model is. Stubble counts neither way.
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
RIDGE = 1e-3  # weight of the squared coefficients

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

    @property
    def held_out(self) -> bool:
        return bool(zlib.crc32(self.person.encode()) % 2)

    def means(self, weights: Values) -> Values:
        """Return the mean likeness of hair on lip, chin and jaws, and the lesser of both jaws', (4,)."""
        lip, chin, *jaws = (
            float(_sure(facial_hair.expand(one) @ weights).mean()) if len(one) else 0.0 for one in self.features
        )
        return np.array([lip, chin, sum(jaws) / 2, min(jaws)])


def main() -> int:
    """Measure the model, or fit it; exits with a reason if no labeled picture is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit the model to the first half and print it")
    arguments = parser.parse_args()
    faces = list(labeled(arguments.folders, load_engine(FaceSettings(engine="mesh"))))
    if not faces:
        sys.exit("skipped: none of the labeled pictures is below these folders")
    weights: Values = facial_hair.WEIGHTS.astype(float)
    presence: Values = facial_hair.PRESENCE.astype(float)
    if arguments.fit:
        weights, presence = fit([face for face in faces if not face.held_out])
        print("WEIGHTS", weights.tolist(), "PRESENCE", presence.tolist(), sep="\n")
    show(faces, weights, presence)
    return 0


def labeled(folders: Sequence[Path], engine: FaceEngine) -> Iterator[Labeled]:
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
    """Fit the model of pixels, (21,), then the one of regions on its means, (3, 5); rounded to two decimals."""
    generator = np.random.default_rng(0)
    terms, hairy = [], []
    for face in faces:
        for label, pixels in zip((*face.labels, face.labels[2]), face.features, strict=True):
            if label in (BARE, HAIR) and len(pixels):
                terms.append(facial_hair.expand(pixels[generator.choice(len(pixels), SAMPLES)]))
                hairy += [label == HAIR] * SAMPLES
    weights = np.round(regress(np.vstack(terms).astype(float), np.array(hairy)), 2)
    means = np.array([[*face.means(weights), 1.0] for face in faces])
    labels = np.array([face.labels for face in faces])
    sure = [labels[:, index] != 1 for index in range(len(REGIONS))]
    presence = [regress(means[known], labels[known, index] == HAIR) for index, known in enumerate(sure)]
    return weights, np.round(presence, 2)


def regress(terms: Values, positive: NDArray[np.bool_]) -> Values:
    """Fit a logistic regression to terms, (N, T), of which the last is 1; both classes weigh the same.

    Ridge regression on standardized terms; returned are the coefficients of the terms as they are, (T,).
    """
    middle, spread = terms.mean(axis=0), terms.std(axis=0)
    middle[-1], spread[-1] = 0.0, 1.0
    standard = (terms - middle) / spread
    weight = np.where(positive, 0.5 / positive.mean(), 0.5 / (~positive).mean()) / len(positive)
    ridge = RIDGE * np.append(np.ones(len(middle) - 1), 0.0)

    def loss(coefficients: Values) -> tuple[float, Values]:
        values = standard @ coefficients
        error = weight * np.logaddexp(0, np.where(positive, -values, values))
        slope = standard.T @ (weight * (_sure(values) - positive)) + 2 * ridge * coefficients
        return float(error.sum() + (ridge * coefficients**2).sum()), slope

    found = minimize(loss, np.zeros(len(middle)), jac=True, method="L-BFGS-B").x / spread
    found[-1] -= (found[:-1] * middle[:-1]).sum()
    return np.asarray(found)


def show(faces: Sequence[Labeled], weights: Values, presence: Values) -> None:
    """Print how often the model is right on each region, for both halves."""
    print(
        f"{'':<14}{'region':<12}{'bare':>6}{'hair':>6}{'AUC':>8}{'false':>8}{'missed':>8}{'stubble taken for hair':>26}"
    )
    sure = np.array([_sure(presence[:, :4] @ face.means(weights) + presence[:, 4]) for face in faces])
    labels = np.array([face.labels for face in faces])
    held = np.array([face.held_out for face in faces])
    counts = facial_hair.UNSURE
    for title, half in (("fitted to", ~held), ("held out", held)):
        for index, region in enumerate(REGIONS):
            bare, stubble, hair = (sure[half & (labels[:, index] == label), index] for label in range(3))
            above = (hair[:, None] > bare).mean() + 0.5 * (hair[:, None] == bare).mean()
            figures = (bare > counts).mean(), (hair <= counts).mean(), (stubble > counts).mean()
            print(f"{title:<14}{region:<12}{len(bare):>6}{len(hair):>6}{above:>8.3f}", end="")
            print("{:>8.1%}{:>8.1%}{:>26.1%}".format(*figures))


def _sure(values: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-values)))


if __name__ == "__main__":
    sys.exit(main())
