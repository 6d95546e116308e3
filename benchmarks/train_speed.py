"""How fast train makes its updates, against diffusers' own scripts and against a bare loop of the same UNet.

    python -m benchmarks.train_speed DIFFUSERS [--size 256] [--steps 60] [--rounds 3]

DIFFUSERS is a checkout of diffusers; its scripts run unmodified. Same base model (of Stable Diffusion's proportions),
photos, rank, targets, precision (float32), batch 1 and number of updates; two threads. The four take turns, each in a
process of its own; times are from one optimiser step to the next, the first ones left out, medians over the rounds.
What a script does before the first step and after the last one does not count. `tests/unit/test_train_latents.py`
shows that cached and uncached losses are the same.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2

from benchmarks.like_sd import make
from tests.pictures import hopper, jpeg, variations

ROOT = Path(__file__).parents[1]
BASIC = "examples/dreambooth/train_dreambooth_lora.py"
ADVANCED = "examples/advanced_diffusion_training/train_dreambooth_lora_sd15_advanced.py"
RANK, THREADS, WARM = 16, 2, 10  # WARM: steps left out of the times
PHOTO = 900, 1080  # pixels; a phone's are larger, which would only slow the scripts
TARGETS = {BASIC: 2.0, ADVANCED: 1.3, "bare": 0.9}  # what issue 5 wants of the ratios


@dataclass(frozen=True)
class Timing:
    """One run.

    Attributes:
        before: seconds from the imports' end to the first step's end.
    """

    rate: float
    before: float
    peak_mb: float


def main() -> int:
    """Run everything in turn and print the table; skips without a checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("diffusers", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.diffusers is None or not (arguments.diffusers / BASIC).is_file():
        print("skipped: give the path of a diffusers checkout")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        commands = prepared(Path(folder), arguments.diffusers, arguments.size, arguments.steps)
        timings: dict[str, list[Timing]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                timings[name].append(timed(command, Path(folder)))
    report(timings)
    return 0


def prepared(folder: Path, diffusers: Path, size: int, steps: int) -> dict[str, list[str]]:
    """Base model and photos on disk, and the command of each competitor."""
    base, photos = make(folder / "base", size), folder / "photos"
    photos.mkdir()
    for index, image in enumerate(variations(hopper(), 6)):
        (photos / f"{index}.jpg").write_bytes(jpeg(cv2.resize(image, PHOTO, interpolation=cv2.INTER_CUBIC)))
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


def timed(command: list[str], folder: Path) -> Timing:
    """Run one; the program ends with its errors where it fails."""
    settings = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    ended = said["ended"]
    warm = min(WARM, len(ended) // 3)
    gaps = [later - earlier for earlier, later in zip(ended[warm:], ended[warm + 1 :], strict=False)]
    return Timing(1 / statistics.median(gaps), ended[0], said["peak_mb"])


def report(timings: dict[str, list[Timing]]) -> None:
    """Medians over the rounds; the ratios are medians of the rounds' own."""
    print(f"{'':<76}{'steps/s':>9}{'first step':>12}{'peak MB':>9}{'ours over it':>14}{'wanted':>8}")
    for name, runs in timings.items():
        rate = statistics.median(run.rate for run in runs)
        before, peak = statistics.median(run.before for run in runs), statistics.median(run.peak_mb for run in runs)
        ratio = statistics.median(our.rate / run.rate for our, run in zip(timings["ours"], runs, strict=True))
        wanted = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        print(f"{name:<76}{rate:>9.2f}{before:>10.1f} s{peak:>9.0f}{ratio:>14.2f}{wanted:>8}")


if __name__ == "__main__":
    sys.exit(main())
