"""How fast the face engines are beside each other: ten photos of 12 megapixels, a turned one, a face, a cold start.

    python -m benchmarks.face_speed PHOTO... [--engines mesh dlib] [--count 10] [--repeats 3]

Engines take turns in one process on one thread, so that a busy machine is busy for all of them. Seconds are those of
the process (`--clock wall` counts all), the least of the rounds; the ratio is the last engine's over the first one's.
Cold start is a new process, from its start to the verdict on one photo.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks.check_speed import phone_photo
from shared.faces import FaceEngine
from shared.faces.base import largest
from shared.faces.dlib import DlibEngine
from shared.faces.loading import load_engine
from shared.faces.mesh import MeshEngine
from shared.faces.mesh_landmarks import landmarks
from shared.imaging.array_types import Image, Points
from shared.photos import decode_photo
from shared.photos.assessment import inspect_photo, judge_photo
from shared.settings import FaceSettings, Limits

MEGAPIXELS = 12.0
SIDE = 700  # long side of the photos that are turned, and of the template whose face is looked for
COLD = """
import sys
from shared.faces.loading import load_engine
from shared.photos.assessment import inspect_photo
from shared.settings import FaceSettings, Limits
engine = load_engine(FaceSettings(engine=sys.argv[1], provider="cpu", intra_threads=1))
print(inspect_photo(open(sys.argv[2], "rb").read(), engine, Limits()).code)
"""
ROW = "{:<50}"
Work = Callable[[], object]


def processor() -> float:
    """Seconds of processor time of the processes that have ended."""
    used = os.times()
    return used.children_user + used.children_system


# of this process, and of one that it starts
CLOCKS = {"process": (time.process_time, processor), "wall": (time.perf_counter, time.perf_counter)}


def main() -> None:
    """Measure all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="*")
    parser.add_argument("--engines", nargs="+", choices=["mesh", "dlib"], default=["mesh", "dlib"])
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="process")
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.photos if not path.is_file()]
    if missing or not arguments.photos:
        sys.exit(f"skipped: no file {', '.join(missing)}; give photos of one person each")
    cv2.setNumThreads(1)
    engines = {
        name: load_engine(FaceSettings(engine=name, provider="cpu", intra_threads=1)) for name in arguments.engines
    }
    print(
        ROW.format("seconds, the least of the rounds") + "".join(f"{name:>10}" for name in engines) + f"{'ratio':>10}"
    )
    for title, task in tasks(arguments.photos, arguments.count).items():
        works = {name: task(engine) for name, engine in engines.items()}
        times: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(arguments.repeats):
            for name, work in works.items():
                times[name].append(measure_seconds(work, CLOCKS[arguments.clock][0]))
        print_row(title, {name: min(found) for name, found in times.items()})
    clock = CLOCKS[arguments.clock][1]
    found = {name: min(cold(name, arguments.photos[0], clock) for _ in range(arguments.repeats)) for name in engines}
    print_row("cold start to the first verdict", found)


def tasks(photos: list[Path], count: int) -> dict[str, Callable[[FaceEngine], Work]]:
    """What is timed, by what it is called in the table: for an engine, the work that is ready to be done."""
    large = [phone_photo(path, MEGAPIXELS) for path in islice(cycle(photos), count)]
    upright = reduce_to(decode_photo(photos[0].read_bytes(), Limits()).image)
    aside, over = (np.ascontiguousarray(cv2.rotate(upright, t)) for t in (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180))
    return {
        f"check of {count} photos of {MEGAPIXELS:g} MP": lambda one: (
            lambda: [inspect_photo(d, one, Limits()) for d in large]
        ),
        f"two upright photos of {SIDE} px": lambda one: lambda: [judge_photo(upright, one, []) for _ in range(2)],
        "one on its side": lambda one: lambda: judge_photo(aside, one, []),
        "one upside down": lambda one: lambda: judge_photo(over, one, []),
        "landmarks of a face that is found": lambda one: landmarks_of(upright, one),
    }


def landmarks_of(image: Image, engine: FaceEngine) -> Work:
    """The landmarks alone, of the largest face, with all looks that each engine takes."""
    if isinstance(engine, MeshEngine):
        candidate = engine._detector.candidates(image)[0]
        confirm = engine._confirm

        def look_again() -> Points:
            look = confirm(image, candidate)
            assert look is not None, "the face was found a moment ago"
            return landmarks(look.points)

        return look_again
    assert isinstance(engine, DlibEngine)
    box, trees = largest(engine.detect(image)).box, engine._trees
    return lambda: trees.landmarks(image, box)


def reduce_to(image: Image) -> Image:
    """At most SIDE pixels long."""
    factor = min(SIDE / max(image.shape[:2]), 1.0)
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def measure_seconds(work: Work, clock: Callable[[], float]) -> float:
    """Seconds by this clock."""
    started = clock()
    work()
    return clock() - started


def cold(name: str, photo: Path, clock: Callable[[], float]) -> float:
    """From the start of a process to its end, by this clock."""
    started = clock()
    subprocess.run([sys.executable, "-c", COLD, name, str(photo)], check=True, capture_output=True)
    return clock() - started


def print_row(title: str, seconds: dict[str, float]) -> None:
    """One line of the table; the ratio is the last engine's time over the first one's."""
    values = list(seconds.values())
    ratio = f"{values[-1] / values[0]:>9.1f}x" if len(values) > 1 else ""
    print(ROW.format(title) + "".join(f"{value:>10.3f}" for value in values) + ratio, flush=True)


if __name__ == "__main__":
    main()
