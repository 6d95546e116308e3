"""Measures how well check tells people apart, on all pairs of labeled photos and all pairs in a folder of strangers.

    python -m benchmarks.verification FOLDER... [--strangers FOLDER] [--engine mesh dlib]

With several engines each is reported in turn, and then every photo's verdict by all of them in one table.

Photos are labeled by their path without its last digits: `obama/1.jpg` and `family/Dad2.jpg` show `obama/` and
`family/Dad`. In the folder of strangers every picture shows another person; it tells how many strangers a threshold
accepts, for which a few labeled people are not enough. Photos that check finds unusable are listed and left out.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.faces import FaceEngine
from shared.faces.loading import load_engine
from shared.imaging.array_types import Embedding
from shared.photos.assessment import PhotoAssessment, inspect_photo
from shared.settings import FaceSettings, Limits

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
ROW = "{:<36}"
Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Photo:
    """A usable photo, and the person whom its path names."""

    path: str
    person: str
    embedding: Embedding


def main() -> None:
    """Measure and print the figures; exits with a reason if there is nothing to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", help="folders of labeled photos")
    parser.add_argument("--strangers", type=Path, help="folder with one photo of each of many people")
    parser.add_argument("--engine", nargs="+", choices=["mesh", "dlib", "insightface"], default=["mesh"])
    arguments = parser.parse_args()
    missing = [str(folder) for folder in arguments.photos if not folder.is_dir()]
    if missing:
        sys.exit(f"skipped: no folder {', '.join(missing)}; give folders with labeled photos of people")
    engines = {name: load_engine(FaceSettings(engine=name)) for name in arguments.engine}
    verdicts = {}
    for name, engine in engines.items():
        verdicts[name] = {key: one for folder in arguments.photos for key, one in assess_all(folder, engine).items()}
        photos = list_labeled(verdicts[name])
        same, different = pairs(photos, engine)
        if not len(same) or not len(different):
            sys.exit("skipped: no two photos of one person and of two; label them like Dad1.jpg, Dad2.jpg, Mom1.jpg")
        print(f"{name}: {len(photos)} usable photos of {len({photo.person for photo in photos})} people:")
        report(same, different, engine.same_person)
        for path_a, path_b, distance in mistakes(photos, engine):
            print(f"  wrong: {path_a} and {path_b} are {distance:.3f} apart")
        if arguments.strangers is not None and arguments.strangers.is_dir():
            found = assess_all(arguments.strangers, engine)
            _, strangers = pairs(one_each(found), engine)
            print(f"strangers in {arguments.strangers}:")
            report(same, strangers, engine.same_person)
    print_verdicts(verdicts)


def one_each(verdicts: dict[str, PhotoAssessment]) -> list[Photo]:
    """Return the usable photos of a folder in which each shows another person."""
    return [Photo(key, key, one.embedding) for key, one in verdicts.items() if one.embedding is not None]


def assess_all(folder: Path, engine: FaceEngine) -> dict[str, PhotoAssessment]:
    """What check says of each photo of a folder and its sub-folders, by its path."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return {str(path.relative_to(folder.parent)): inspect_photo(path.read_bytes(), engine, Limits()) for path in paths}


def print_verdicts(verdicts: dict[str, dict[str, PhotoAssessment]]) -> None:
    """Every photo's verdict by each engine: code, frontal, yaw, pitch, roll, width of the face; then what differs."""
    head = ["photo", *(f"{name}: code frontal yaw pitch roll face" for name in verdicts)]
    print(ROW.format(*head[:1]) + "".join(f"{title:<44}" for title in head[1:]))
    different = []
    for path in next(iter(verdicts.values())):
        found = [of_engine[path] for of_engine in verdicts.values()]
        print(ROW.format(path) + "".join(f"{format_verdict(one):<44}" for one in found), flush=True)
        if len({one.code for one in found}) > 1:
            different.append(f"{path}: {' | '.join('; '.join([one.message, *one.warnings]) for one in found)}")
    print(
        "\n".join(["verdicts that differ:", *different]) if different else "all engines give all photos the same code"
    )


def format_verdict(verdict: PhotoAssessment) -> str:
    """One photo's verdict as the table has it."""
    if verdict.face is None:
        return f"{verdict.code}"
    angles = f"{verdict.yaw:6.1f} {verdict.pitch:6.1f} {verdict.roll:6.1f}"
    return f"{verdict.code} {'yes' if verdict.frontal else 'no':<4} {angles} {verdict.face.box.width:5.0f}"


def list_labeled(verdicts: dict[str, PhotoAssessment]) -> list[Photo]:
    """The usable photos, with the person that each path names."""
    return [
        Photo(path, re.sub(r"\d+\.\w+$", "", path), verdict.embedding)
        for path, verdict in verdicts.items()
        if verdict.embedding is not None
    ]


def pairs(photos: list[Photo], engine: FaceEngine) -> tuple[Distances, Distances]:
    """Return the sorted distances of all pairs that show one person, and of all pairs that show two people."""
    same: list[float] = []
    different: list[float] = []
    for a, b in combinations(photos, 2):
        (same if a.person == b.person else different).append(engine.distance(a.embedding, b.embedding))
    return np.sort(same), np.sort(different)


def mistakes(photos: list[Photo], engine: FaceEngine) -> list[tuple[str, str, float]]:
    """Return the pairs on the wrong side of the engine's threshold, with their distances."""
    judged = ((a, b, engine.distance(a.embedding, b.embedding)) for a, b in combinations(photos, 2))
    return [(a.path, b.path, d) for a, b, d in judged if (d < engine.same_person) != (a.person == b.person)]


def auc(same: Distances, different: Distances) -> float:
    """Return the probability that a pair of one person is nearer than a pair of two (Mann-Whitney; ties count half)."""
    below = np.searchsorted(different, same, side="left")
    upto = np.searchsorted(different, same, side="right")
    return float(1 - (below + upto).mean() / 2 / len(different))


def rates(same: Distances, different: Distances, threshold: float) -> tuple[float, float]:
    """Return the share of one person's pairs that are refused, and of two people's pairs that are accepted."""
    return float((same >= threshold).mean()), float((different < threshold).mean())


def equal_error(same: Distances, different: Distances) -> tuple[float, float]:
    """Return the threshold at which both rates are most nearly equal (the middle of that range), and their mean."""
    candidates = np.unique(np.concatenate([same, different, [0.0]]))
    middles = np.append((candidates[:-1] + candidates[1:]) / 2, candidates[-1] + 1e-6)
    gaps = [abs(refused - let_in) for refused, let_in in (rates(same, different, float(at)) for at in middles)]
    best = float(np.median(middles[np.isclose(gaps, min(gaps))]))
    return best, float(np.mean(rates(same, different, best)))


def report(same: Distances, different: Distances, threshold: float) -> None:
    """Print the figures of one set of pairs."""
    refused, let_in = rates(same, different, threshold)
    at, error = equal_error(same, different)
    wrong = refused * len(same) + let_in * len(different)
    print(f"  pairs: {len(same)} of one person ({same[0]:.3f} to {same[-1]:.3f}), {len(different)} of two")
    print(f"  nearest of two: {', '.join(f'{value:.3f}' for value in different[:5])}")
    print(f"  ROC AUC {auc(same, different):.5f}")
    share = wrong / (len(same) + len(different))
    print(f"  at {threshold}: {refused:.2%} refused, {let_in:.3%} accepted, {share:.2%} of all pairs wrong")
    print(f"  equal error {error:.2%} at {at:.3f}")
    print(f"  one pair of two people in 1,000 is nearer than {np.quantile(different, 0.001):.3f}")


if __name__ == "__main__":
    main()
