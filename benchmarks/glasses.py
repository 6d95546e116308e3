"""Measures how well glasses are told from bare faces, on portraits that were labeled by eye.

    python -m benchmarks.glasses PORTRAITS_FOLDER [--every N] [--gain RED,GREEN,BLUE]

`glasses.csv` beside this file says which official portraits of members of the US Congress show glasses, 176 of 814,
many of thin wire or without rims. The glasses network never saw every third of them, the first included (`--every 3`).
`--gain` lays colored light over them. Printed are the share of glasses that is found
and the bare faces that are taken for glasses, with the names of all that is wrong.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from benchmarks.pairs import read
from functions.generate.glasses.frames import wears_glasses
from shared.faces.base import largest
from shared.faces.loading import load_engine
from shared.settings import FaceSettings

LABELS = Path(__file__).with_suffix(".csv")


def main() -> int:
    """Measure and print; exits with a reason if no labeled portrait is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="look only at every so many portraits")
    parser.add_argument("--gain", default="1,1,1", help="factors on red, green and blue: colored light")
    arguments = parser.parse_args()
    gain = np.array([float(one) for one in arguments.gain.split(",")])
    engine = load_engine(FaceSettings(engine="mesh", intra_threads=1))
    with LABELS.open() as file:
        rows = list(csv.DictReader(file))[:: arguments.every]
    missed: list[str] = []
    false: list[str] = []
    counts = {"0": 0, "1": 0}
    for row in rows:
        path = arguments.folder / f"{row['portrait']}.jpg"
        found = engine.detect(read(path)) if path.exists() else []
        if not found:
            continue
        counts[row["glasses"]] += 1
        lit = np.clip(read(path) * gain, 0, 255).round().astype(np.uint8)
        worn = wears_glasses(lit, largest(found).landmarks)
        if worn != (row["glasses"] == "1"):
            (false if worn else missed).append(row["portrait"])
    if not counts["1"] or not counts["0"]:
        sys.exit("skipped: there are too few labeled portraits in this folder")
    print(f"found: {1 - len(missed) / counts['1']:.1%} of {counts['1']} with glasses; missed: {' '.join(missed)}")
    print(f"false: {len(false)} of {counts['0']} without; they are: {' '.join(false)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
