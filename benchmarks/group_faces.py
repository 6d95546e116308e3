"""Measures whether every face of a group picture is found, and nothing else: heads side by side, cheek to cheek.

    python -m benchmarks.group_faces [FOLDER...] [--every 1] [--from 0] [--groups 40] [--seed 0] [--sheet FILE]

The people are those in pictures that installed packages ship, and in each picture of the folders that shows one; of
them every n-th. A group has two to six heads, cut out by their landmarks, of different sizes and tilts. The rows differ
in how near the heads are (between the middles of two faces lie that many times their mean width) and in how the group
is shown. A face is found if one is at its place in its size. The table says how many faces were missed, how many were
found where there is none, and in how many groups the number of faces is not that of the heads.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.hidden_faces import faces, write_sheet
from shared.faces import Face
from shared.faces.mesh import MeshEngine
from shared.imaging.array_types import Image
from shared.settings import FaceSettings
from tests.heads import Group, make_group

NEARNESS = {"cheek to cheek": (0.85, 0.95), "near": (0.95, 1.15), "apart": (1.15, 1.8)}  # in mean widths of two faces
NEAR, SIZE_OFF = 0.3, 1.5  # distance from where a face is in its widths, and factor on its width, up to which it is it
DARK = 0.3  # light of the dark groups
TURN = 25.0  # degrees of the groups that are turned
ROW = "{:<34}{:>8}{:>8}{:>8}{:>8}{:>8}"
TILE = 200  # pixels, side of a group on the sheet


def main() -> None:
    """Measure and print the table; with `--sheet`, draw the groups in which something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N")
    parser.add_argument("--groups", type=int, default=40, help="of each nearness")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="picture of the groups in which a face is missed or made up")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    engine = MeshEngine(FaceSettings(engine="mesh", provider="cpu", intra_threads=1))
    people = list(faces(arguments.folders, arguments.every, arguments.first, engine))
    random = np.random.default_rng(arguments.seed)
    print(ROW.format(f"{len(people)} people", "groups", "faces", "missed", "others", "wrong"), flush=True)
    drawn: list[Image] = []
    total = np.zeros(5, int)
    for nearness, gaps in NEARNESS.items():
        groups = [make_group(people, gaps, random) for _ in range(arguments.groups)]
        for way, show in WAYS.items():
            tally = np.zeros(5, int)
            for group in map(show, groups):
                found = engine.detect(group.image)
                missed, others = compare(found, group)
                tally += [1, len(group.widths), missed, others, len(found) != len(group.widths)]
                if missed or others:
                    drawn.append(draw(group.image, found))
            print(ROW.format(f"{nearness}, {way}", *tally.tolist()), flush=True)
            total += tally
    print(ROW.format("all", *total.tolist()))
    if arguments.sheet and drawn:
        write_sheet(arguments.sheet, drawn)


def resize(factor: float) -> Callable[[Group], Group]:
    """Return what shows a group in another resolution."""

    def show(group: Group) -> Group:
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        image = cv2.resize(group.image, None, fx=factor, fy=factor, interpolation=how)
        return Group(image, group.middles * factor, group.widths * factor)

    return show


def darken(group: Group) -> Group:
    """Show it in little light."""
    return Group((group.image * DARK).astype(np.uint8), group.middles, group.widths)


def turn(group: Group) -> Group:
    """Show it turned around its middle, in a square with room for all of it."""
    height, width = group.image.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -TURN, 1)
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    image = cv2.warpAffine(group.image, matrix, (side, side), borderValue=(128, 128, 128))
    return Group(image, group.middles @ matrix[:, :2].T + matrix[:, 2], group.widths)


def crop(group: Group) -> Group:
    """Show the faces alone, the border near their foreheads, chins and ears."""
    least = (group.middles - 0.6 * group.widths[:, None]).min(axis=0).astype(int)
    most = (group.middles + 0.6 * group.widths[:, None]).max(axis=0).astype(int)
    image = np.ascontiguousarray(group.image[least[1] : most[1], least[0] : most[0]])
    return Group(image, group.middles - least, group.widths)


WAYS: dict[str, Callable[[Group], Group]] = {
    "as they are": lambda group: group,
    "small": resize(0.5),
    "large": resize(4.0),
    "dark": darken,
    "turned": turn,
    "cropped": crop,
}


def compare(found: list[Face], group: Group) -> tuple[int, int]:
    """Return how many of the group's faces were not found, and how many were found elsewhere."""
    left = list(found)
    for middle, width in zip(group.middles, group.widths, strict=True):
        same = [
            one
            for one in left
            if np.linalg.norm(one.box.center - middle) <= NEAR * width
            and width / SIZE_OFF <= one.box.width <= width * SIZE_OFF
        ]
        left.remove(same[0]) if same else None
    matched = len(found) - len(left)
    return len(group.widths) - matched, len(left)


def draw(image: Image, found: list[Face]) -> Image:
    """Return the group with the faces that were found, in a square."""
    factor = TILE / max(image.shape[:2])
    made = np.zeros((TILE, TILE, 3), np.uint8)
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)[:TILE, :TILE]
    made[: small.shape[0], : small.shape[1]] = small
    for face in found:
        left, top, right, bottom = face.box.scaled(factor).rounded()
        cv2.rectangle(made, (left, top), (right, bottom), (0, 255, 0))
    return made


if __name__ == "__main__":
    main()
