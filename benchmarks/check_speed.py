"""Measures check's speed on phone photos against a plain loop over `face_recognition`, its cold start and its memory.

    python -m benchmarks.check_speed PHOTO... [--megapixels 12] [--count 10] [--repeats 3]

The peer is the package `face_recognition` (PyPI, 1.3) if it is installed, otherwise the same calls of dlib: decode, HOG
detector on the full picture enlarged once, landmarks, embedding. Both run in one process on one thread with their
models loaded, in turns A-B-A-B over the same files; the medians of the rounds are compared. The cold start is the time
from the start of a `photog worker` process to its answer in the bucket; the memory is the peak of such a process.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import cv2
import dlib
import face_recognition_models
import numpy as np
from PIL import Image as Pillow

from shared.faces.loading import load_engine
from shared.photos import decode_photo
from shared.photos.assessment import PhotoAssessment, inspect_photo
from shared.settings import FaceSettings, Limits

QUALITY = 90  # jpg quality of the files, as phones write them
MOST = 20  # photos in a request
POLL_SECONDS, PATIENCE_SECONDS = 0.01, 300.0
WORKER = """
import atexit, resource, sys
from shared.cli import app

def report():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("torch" in sys.modules, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)

atexit.register(report)
app(["worker", "check", sys.argv[1]])
"""

Looked = Callable[[bytes], int]
Result = TypeVar("Result", int, PhotoAssessment)


def main() -> None:
    """Make the files, run both programs, and print the seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="*")
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.photos if not path.is_file()]
    if missing or not arguments.photos:
        sys.exit(f"skipped: no file {', '.join(missing)}; give photos of one person each")
    cv2.setNumThreads(1)  # like dlib's detector
    files = [phone_photo(path, arguments.megapixels) for path in islice(cycle(arguments.photos), arguments.count)]
    compare(files, arguments.repeats, arguments.megapixels)
    for count in (1, MOST):
        print(f"a new worker answers {count} photos after {serve_check(list(islice(cycle(files), count)))}")


def compare(files: list[bytes], repeats: int, megapixels: float) -> None:
    """Run both in turns, and print their seconds and how many photos only check refuses."""
    engine, limits = load_engine(FaceSettings(intra_threads=1)), Limits()
    name, peer = face_recognition() if find_spec("face_recognition") else ("the same calls of dlib", plain_loop())
    inspect_photo(files[0], engine, limits)  # warm
    ours, theirs = [], []
    for _ in range(repeats):
        seconds, verdicts = measure_seconds(lambda data: inspect_photo(data, engine, limits), files)
        ours.append(seconds)
        seconds, counts = measure_seconds(peer, files)
        theirs.append(seconds)
        print(f"  round: check {ours[-1]:.2f} s, {name} {theirs[-1]:.2f} s", flush=True)
    worse = sum(count == 1 and not verdict.usable for count, verdict in zip(counts, verdicts, strict=True))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{len(files)} photos of {megapixels:g} MP, medians of {repeats}: check {a:.2f} s, {name} {b:.2f} s")
    print(f"check is {b / a:.1f} times as fast; it refuses {worse} photos in which the loop finds exactly one face")


def measure_seconds(look: Callable[[bytes], Result], files: list[bytes]) -> tuple[float, list[Result]]:
    """Return the seconds for all files, and the result for each."""
    started = time.perf_counter()
    found = [look(data) for data in files]
    return time.perf_counter() - started, found


def phone_photo(path: Path, megapixels: float) -> bytes:
    """Return the photo enlarged to that many megapixels, as a jpg."""
    image = decode_photo(path.read_bytes(), Limits()).image
    factor = math.sqrt(megapixels * 1e6 / (image.shape[0] * image.shape[1]))
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(large, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def face_recognition() -> tuple[str, Looked]:
    """Return the package's name and a function that counts the faces that it finds and embeds in a file.

    The function uses the documented calls with their defaults.
    """
    import face_recognition as package

    def count(data: bytes) -> int:
        image = package.load_image_file(BytesIO(data))
        return len(package.face_encodings(image, package.face_locations(image)))

    return "face_recognition", count


def plain_loop() -> Looked:
    """Return a function that makes the same calls of dlib as `face_recognition`, for use without that package."""
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    encoder = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())

    def count(data: bytes) -> int:
        image = np.array(Pillow.open(BytesIO(data)).convert("RGB"))
        shapes = [predictor(image, box) for box in detector(image, 1)]
        return len([encoder.compute_face_descriptor(image, shape, 1) for shape in shapes])

    return count


def serve_check(files: list[bytes]) -> str:
    """Describe the time from a worker's start to its answer, its processor time (less noisy) and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        bucket = Path(folder)
        keys = [f"photos/{index}.jpg" for index in range(len(files))]
        for key, data in zip(keys, files, strict=True):
            (bucket / key).parent.mkdir(exist_ok=True)
            (bucket / key).write_bytes(data)
        (bucket / "requests/check").mkdir(parents=True)
        (bucket / "requests/check/1.json").write_text(json.dumps({"request_id": "1", "images": keys}))
        started = time.perf_counter()
        worker = subprocess.Popen([sys.executable, "-c", WORKER, folder], stdout=subprocess.PIPE, text=True)
        while not (bucket / "results/check/1/result.json").exists():
            time.sleep(POLL_SECONDS)
            if time.perf_counter() - started > PATIENCE_SECONDS:
                sys.exit("the worker did not answer")
        seconds = time.perf_counter() - started
        worker.terminate()
        torch, megabytes, processor = worker.communicate(timeout=PATIENCE_SECONDS)[0].split()[-3:]
    used = f"{float(processor):.2f} s of processor time, peak {float(megabytes):.0f} MB"
    return f"{seconds:.2f} s; {used}, torch {'imported' if torch == 'True' else 'not imported'}"


if __name__ == "__main__":
    main()
