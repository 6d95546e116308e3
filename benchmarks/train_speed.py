"""Measures how fast train makes its updates, against diffusers' scripts and a bare loop over the same UNet.

    python -m benchmarks.train_speed DIFFUSERS [--size 256] [--megapixels 12] [--turns 8]

DIFFUSERS is a checkout of diffusers, whose scripts run unmodified. All four programs have the same base model (with
Stable Diffusion's proportions), photos, rank, targets, precision (float32), batch 1 and number of updates, and two
threads. They are started one after the other and then take short turns of a few steps each while the other three wait.
The time of a step is that from one optimizer step to the next; the ratios are medians over the turns. Work before the
first step and after the last one does not count, nor do the first turns. `tests/unit/test_train_latents.py` shows that
cached and uncached losses are the same.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from benchmarks.like_sd import make
from benchmarks.one_training import TURN
from tests.pictures import hopper, jpeg, variations

ROOT = Path(__file__).parents[1]
BASIC = "examples/dreambooth/train_dreambooth_lora.py"
ADVANCED = "examples/advanced_diffusion_training/train_dreambooth_lora_sd15_advanced.py"
RANK, THREADS, WARM = 16, 2, 2  # WARM: number of first turns that do not count
PHONE = 12.0  # megapixels of a typical phone photo; the scripts resize the photos in every step
SHAPE = 5 / 6  # width of a photo over its height
TARGETS = {BASIC: 2.0, ADVANCED: 1.3, "bare": 0.9}  # least ratio of each one's time to ours


@dataclass(eq=False)
class Competitor:
    """One of the programs in its process, which waits unless it has the turn.

    Attributes:
        first: seconds from the end of the imports to the end of the first step.
        times: mean seconds per step, one for each turn.
        peak_mb: peak memory in MB.
    """

    process: subprocess.Popen[str]
    first: float = 0.0
    times: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def main() -> int:
    """Run all programs in turns and print the table; does nothing without a checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("diffusers", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--megapixels", type=float, default=PHONE)
    parser.add_argument("--turns", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.diffusers is None or not (arguments.diffusers / BASIC).is_file():
        print("skipped: give the path of a diffusers checkout")
        return 0
    turns = WARM + arguments.turns
    with tempfile.TemporaryDirectory() as folder:
        save_photos(Path(folder) / "photos", arguments.megapixels)
        commands = prepare(Path(folder), arguments.diffusers, arguments.size, 1 + turns * TURN)
        runners = {name: start(command, Path(folder)) for name, command in commands.items()}
        for _ in range(turns):
            for one in runners.values():
                one.times.append(statistics.mean(answer(one, "gaps")))
            print(*(f"{one.times[-1]:.3f}" for one in runners.values()), "seconds a step", file=sys.stderr)
        for one in runners.values():
            one.peak_mb = answer(one, "peak_mb")
            one.process.wait()
    report(runners)
    return 0


def save_photos(folder: Path, megapixels: float) -> None:
    """Write six photos of one person."""
    folder.mkdir()
    height = math.sqrt(megapixels * 1e6 / SHAPE)
    for index, image in enumerate(variations(hopper(), 6)):
        large = cv2.resize(image, (round(height * SHAPE), round(height)), interpolation=cv2.INTER_CUBIC)
        (folder / f"{index}.jpg").write_bytes(jpeg(large))


def prepare(folder: Path, diffusers: Path, size: int, steps: int) -> dict[str, list[str]]:
    """Write the base model to disk, and return the command of each competitor."""
    base, photos = make(folder / "base", size), folder / "photos"
    given = {
        "pretrained_model_name_or_path": base,
        "instance_data_dir": photos,
        "instance_prompt": "photo of sks person",
        "resolution": size,
        "train_batch_size": 1,
        "max_train_steps": steps,
        "learning_rate": 3e-4,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "rank": RANK,
        "seed": 0,
        "mixed_precision": "no",
        "checkpointing_steps": 100_000,
        "output_dir": folder / "out",
    }
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    mine = [str(base), str(photos), str(steps), str(RANK)]
    one = [sys.executable, "-m", "benchmarks.one_training"]
    commands = {BASIC: [*one, "script", str((diffusers / BASIC).resolve()), *options], "ours": [*one, "ours", *mine]}
    if (diffusers / ADVANCED).is_file():
        commands[ADVANCED] = [*one, "script", str((diffusers / ADVANCED).resolve()), *options, "--cache_latents"]
    return commands | {"bare": [*one, "bare", *mine]}


def start(command: list[str], folder: Path) -> Competitor:
    """Start a competitor and wait until it has made its first step."""
    settings = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(ROOT)}
    with open(folder / "errors", "w") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    one = Competitor(process)
    one.first = await_report(one, "first")
    return one


def answer(one: Competitor, what: str) -> Any:
    """Give a competitor the turn, and return the figure `what` that it prints at the end of the turn."""
    assert one.process.stdin is not None
    one.process.stdin.write("go\n")
    one.process.stdin.flush()
    return await_report(one, what)


def await_report(one: Competitor, what: str) -> Any:
    """Return the figure `what` from the competitor's output, ignoring other lines; exits if the competitor fails."""
    assert one.process.stdout is not None
    for line in one.process.stdout:
        if line.startswith(f'{{"{what}"'):
            return json.loads(line)[what]
    sys.exit(f"{one.process.args!r} ended with {one.process.wait()}")


def report(runners: dict[str, Competitor]) -> None:
    """Print the medians over the turns; a ratio is the median of the ratios of each turn."""
    print(f"{'':<76}{'steps/s':>9}{'first step':>12}{'peak MB':>9}{'ours over it':>14}{'wanted':>8}")
    ours = runners["ours"].times[WARM:]
    for name, one in runners.items():
        times = one.times[WARM:]
        ratio = statistics.median(its / our for our, its in zip(ours, times, strict=True))
        wanted = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        rate = 1 / statistics.median(times)
        print(f"{name:<76}{rate:>9.2f}{one.first:>10.1f} s{one.peak_mb:>9.0f}{ratio:>14.2f}{wanted:>8}")


if __name__ == "__main__":
    sys.exit(main())
