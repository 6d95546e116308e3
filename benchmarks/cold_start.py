"""Measures what the start of photog's processes costs, in CPU seconds, which a busy machine changes little.

    python -m benchmarks.cold_start [--repeats 5] [--first]

| row | program |
|---|---|
| python | nothing |
| command line | `import shared.cli.verbs`, which every command does |
| help | `photog --help`, which also imports the extensions |
| worker FUNCTION | imports the function and loads its models, as a worker's child does |

With `--first` also wall seconds, of two cores as far as they are free:

| row | from the start of `photog worker FUNCTION` |
|---|---|
| generate, first answer | until a portrait that was waiting is answered: a template of 512 px, a trained person |
| train, first step | until the progress of a training that was waiting, of six photos, has a step |

Rows take turns; the medians count. Files are read from the system's cache: the first turn does not count.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.buckets.base import MissingObject
from shared.buckets.folder import FolderBucket
from shared.contract import keys
from shared.contract.function import NAMES

LOAD = (
    "import gc; gc.disable(); from shared.runtime.context import load_function; from shared.settings import Settings; "
    "load_function('{name}', Settings())"
)
PROGRAMS = {
    "python": ["-c", "pass"],
    "command line": ["-c", "import shared.cli.verbs"],
    "help": ["-m", "shared.cli", "--help"],
    **{f"worker {name}": ["-c", LOAD.format(name=name)] for name in NAMES},
}


def main() -> int:
    """Start every program in turns, and print the median of its CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--first", action="store_true", help="also measure first answers and steps")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    turns = [{row: spend(words) for row, words in PROGRAMS.items()} for _ in range(1 + repeats)][1:]
    print(f"{repeats} turns, load {os.getloadavg()[0]:.1f}")
    for row in PROGRAMS:
        print(f"{row:<16}{statistics.median(turn[row] for turn in turns):>6.2f} CPU s")
    if arguments.first:
        objects = prepare_objects()
        waits = {"generate, first answer": answer_of_generate, "train, first step": step_of_train}
        firsts = [{row: wait(objects) for row, wait in waits.items()} for _ in range(1 + repeats)][1:]
        for row in waits:
            print(f"{row:<24}{statistics.median(turn[row] for turn in firsts):>6.2f} s")
    return 0


def prepare_objects() -> dict[str, bytes]:
    """Return what the bucket holds before a worker starts: a trained person, a template and photos."""
    from shared.faces.loading import load_engine
    from shared.models.diffusion import load_model
    from shared.settings import Settings
    from tests import pictures
    from tests.trained_users import lora, make_trained_user

    settings = Settings()
    model, engine = load_model(settings.model), load_engine(settings.faces)
    with tempfile.TemporaryDirectory() as folder:
        file = lora(model.denoiser, folder, rank=16, scale=0.02)
    photos = {
        f"photos/{index}.jpg": pictures.jpeg(one) for index, one in enumerate(pictures.variations(pictures.hopper(), 6))
    }
    person = make_trained_user("ann", [pictures.hopper()], engine, file, model.name)
    return person | photos | {"template.png": pictures.png(pictures.astronaut())}


def answer_of_generate(objects: dict[str, bytes]) -> float:
    """Return the seconds from the start of a worker to its first portrait."""
    body = {"request_id": "r", "template_image": "template.png", "configure": {"user_id": "ann", "seed": 1}}
    return wait_for("generate", objects, body, lambda bucket: bucket.get(keys.result("generate", "r")) is not None)


def step_of_train(objects: dict[str, bytes]) -> float:
    """Return the seconds from the start of a worker to the first step of a training."""
    photos = [name for name in objects if name.startswith("photos/")]
    body = {"request_id": "r", "images": photos, "configure": {"user_id": "ben"}}

    def steps(bucket: FolderBucket) -> bool:
        progress = json.loads(bucket.get(keys.progress("train", "r")))
        return bool(progress["data"]["stage"] == "training" and progress["data"]["step"])

    return wait_for("train", objects, body, steps)


def wait_for(
    function: str, objects: dict[str, bytes], body: Mapping[str, object], is_there: Callable[[FolderBucket], bool]
) -> float:
    """Start a worker on a bucket with a request, and return the seconds until something is there."""
    with tempfile.TemporaryDirectory() as folder:
        bucket = FolderBucket(Path(folder))
        for key, data in (objects | {keys.request(function, "r"): json.dumps(body).encode()}).items():
            bucket.put(key, data)
        started = time.monotonic()
        worker = subprocess.Popen(
            [sys.executable, "-m", "shared.cli", "worker", function, folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            while not there(bucket, is_there):
                time.sleep(0.01)
            return time.monotonic() - started
        finally:
            os.killpg(worker.pid, signal.SIGKILL)  # a training that is asked to stop would finish its step first
            worker.wait()


def there(bucket: FolderBucket, is_there: Callable[[FolderBucket], bool]) -> bool:
    """Return whether something is there; objects that are missing are not."""
    try:
        return is_there(bucket)
    except MissingObject:
        return False


def spend(words: list[str]) -> float:
    """Run Python with these arguments, and return the CPU seconds that it took; raises CalledProcessError."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
