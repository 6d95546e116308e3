"""Measures how soon a portrait of somebody new is there, without a training.

    python -m benchmarks.instant [--photos FOLDER] [--repeats 3] [--out portrait.png]

| figure | from | to |
|---|---|---|
| new person | a manifest with six photos of 12 megapixels is put into the bucket of a warm worker | its answer |
| same person again | the same photos, another template | its answer |
| from nothing | the command `photog portrait` is typed, the bucket does not exist | it ends |

Templates have 2 megapixels, all knobs their defaults, the base model is portrait-tiny. Photos are those of the folder,
brought to 12 megapixels, or made from a public-domain picture; grain that differs in each repetition makes them files
that no cache knows. The median of the repetitions counts. Beside it stand the CPU seconds of all processes that took
part, which a busy machine changes little, and below it the machine's load.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from shared.buckets import FolderBucket
from shared.cli.requests import generate_body
from shared.contract.manifests import Json
from shared.imaging.array_types import Image
from shared.operations.client import Client
from shared.runtime.supervisor import Supervisor
from shared.settings import Settings
from tests import pictures

PHOTOS, PHOTO_PIXELS, TEMPLATE_PIXELS = 6, 12_000_000, 2_000_000
GRAIN = 4.0  # standard deviation in levels, as in a good camera's photo at ISO 800
NEW, AGAIN, NOTHING = "new person", "same person again", "from nothing"
MOST = {NEW: 8.0, NOTHING: 20.0}  # seconds on two cores


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and return 1 if a figure is over its aim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with photos of one person, six or more")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where the last portrait goes")
    given = parser.parse_args(arguments)
    originals = _originals(given.photos)
    seconds: dict[str, list[Spent]] = {NEW: [], AGAIN: [], NOTHING: []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.repeats):
            names = list(_write_pictures(Path(folder) / f"{turn}", originals, turn))
            seconds[NOTHING].append(_from_nothing(Path(folder) / f"bucket-{turn}", names, given.out))
        with Supervisor(str(Path(folder) / "bucket"), ["generate"], Settings().lease.drain_seconds, {}) as worker:
            client = Client(FolderBucket(Path(folder) / "bucket"))
            _portray(client, worker, list(_write_pictures(Path(folder) / "warm", originals, -1)), "warm")
            for turn in range(given.repeats):
                names = list(_write_pictures(Path(folder) / f"{turn}", originals, 100 + turn))
                seconds[NEW].append(_portray(client, worker, names, f"new-{turn}"))
                seconds[AGAIN].append(_portray(client, worker, names, f"again-{turn}", mirrored=True))
    return _report(seconds)


@dataclass(frozen=True, order=True)
class Spent:
    """Seconds by the clock, and CPU seconds of this process's children and theirs."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Stopwatch:
    """Measures from when it is made."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=lambda: _children_cpu())

    def stop(self) -> Spent:
        return Spent(time.monotonic() - self.wall, _children_cpu() - self.cpu)


def _children_cpu() -> float:
    """Return the CPU seconds of all children, and theirs: of those that have ended, and of those that /proc lists."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        parents[int(stat.parent.name)] = int(fields[1])
        ticks[int(stat.parent.name)] = sum(map(int, fields[11:15]))  # its own, and those of its children that ended
    running, found = 0, {os.getpid()}
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        running += sum(ticks[pid] for pid in below)
        found |= below
    return ended.ru_utime + ended.ru_stime + running / os.sysconf("SC_CLK_TCK")


def _originals(folder: Path | None) -> list[Image]:
    if folder is None:
        return pictures.variations(pictures.astronaut(), PHOTOS)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    read = [cv2.imread(str(path)) for path in files[:PHOTOS]]
    return [cv2.cvtColor(one, cv2.COLOR_BGR2RGB) for one in read if one is not None]


def _write_pictures(folder: Path, originals: Sequence[Image], seed: int) -> Iterator[Path]:
    """Write the template and the photos, and yield their paths; each seed makes other files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "template.jpg").write_bytes(pictures.jpeg(_resized(pictures.hopper(), TEMPLATE_PIXELS)))
    yield folder / "template.jpg"
    generator = np.random.default_rng(seed % 2**32)
    for number, original in enumerate(originals):
        large = _resized(original, PHOTO_PIXELS)
        grain = cv2.resize(
            generator.normal(0, GRAIN, (large.shape[0] // 2, large.shape[1] // 2, 3)).astype(np.float32),
            large.shape[1::-1],
        )
        photo = np.clip(large + grain, 0, 255).astype(np.uint8)
        (folder / f"{number}.jpg").write_bytes(pictures.jpeg(photo, 92))
        yield folder / f"{number}.jpg"


def _resized(picture: Image, pixels: int) -> Image:
    scale = (pixels / (picture.shape[0] * picture.shape[1])) ** 0.5
    resized: Image = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return resized


def _portray(
    client: Client, worker: Supervisor, names: Sequence[Path], request_id: str, mirrored: bool = False
) -> Spent:
    """Return the seconds from the manifest to the answer; the pictures are in the bucket before."""
    template, *photos = names
    if mirrored:
        other = template.with_name("mirrored.jpg")
        other.write_bytes(pictures.jpeg(_resized(pictures.hopper()[:, ::-1].copy(), TEMPLATE_PIXELS)))
        template = other
    references = [client.reference(str(photo)) for photo in photos]
    body: Json = {"request_id": request_id} | generate_body(
        client.reference(str(template)), [], {"seed": 0}, references
    )
    watch = Stopwatch()
    client.submit("generate", {"request_id": request_id} | body)
    answer = client.wait("generate", request_id, lambda _: worker.check())
    spent = watch.stop()
    if answer["code"] != "OK" or len(answer["data"]["references"][0]["used"]) != len(photos):
        raise SystemExit(f"{request_id} was answered with {answer['message']}: {answer['data'].get('warnings')}")
    return spent


def _from_nothing(bucket: Path, names: Sequence[Path], out: Path | None) -> Spent:
    template, *photos = names
    command = [sys.executable, "-P", "-m", "shared.cli", "portrait", *map(str, photos), "--template", str(template)]
    command += ["--bucket", str(bucket), "--out", str(out or bucket.with_suffix(".png"))]
    watch = Stopwatch()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return watch.stop()


def _report(seconds: dict[str, list[Spent]]) -> int:
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the end (this benchmark alone makes about 1.5)")
    failed = 0
    for name, measured in seconds.items():
        walls = [one.wall for one in measured]
        median, aim = statistics.median(walls), MOST.get(name)
        failed += aim is not None and median > aim
        told = "" if aim is None else f"  aim: under {aim:.0f} s"
        cpu = statistics.median(one.cpu for one in measured)
        print(f"{name:<18} {median:6.2f} s  ({min(walls):.2f} to {max(walls):.2f}) {cpu:6.2f} CPU s{told}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
