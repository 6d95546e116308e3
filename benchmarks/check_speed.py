"""How fast check looks at phone photos, against a plain loop in the manner of `face_recognition` over the same files.

    python -m benchmarks.check_speed PHOTO... [--megapixels 12] [--count 10]

The loop does what `face_locations` and `face_encodings` of face_recognition 1.3 do with their defaults: decode, dlib's
HOG detector on the full picture enlarged once, landmarks, embedding. The two take turns photo by photo in one process,
models loaded, so that a busy machine slows both.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path

import cv2
import dlib
import face_recognition_models
import numpy as np
from PIL import Image as Pillow

from shared.faces.dlib import DlibEngine
from shared.photos import decode
from shared.settings import Limits
from shared.verdict import inspect

QUALITY = 90  # of the jpg files made, as phones write them


def main() -> None:
    """Make the files, run both, print seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--count", type=int, default=10)
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.photos if not path.is_file()]
    if missing:
        sys.exit(f"skipped: no file {', '.join(missing)}; give photos of one person each")
    files = [phone_photo(path, arguments.megapixels) for path in islice(cycle(arguments.photos), arguments.count)]
    engine, plain, limits = DlibEngine(), plain_loop(), Limits()
    inspect(files[0], engine, limits)  # warm
    ours = theirs = 0.0
    worse = 0
    for data in files:
        started = time.perf_counter()
        verdict = inspect(data, engine, limits)
        between = time.perf_counter()
        found = plain(data)
        ours, theirs = ours + between - started, theirs + time.perf_counter() - between
        worse += found == 1 and not verdict.usable
    print(f"{len(files)} photos of {arguments.megapixels:g} MP: check {ours:.2f} s, plain loop {theirs:.2f} s")
    print(f"check is {theirs / ours:.1f} times as fast; {worse} photos with one face for the loop are refused by check")


def phone_photo(path: Path, megapixels: float) -> bytes:
    """The photo enlarged to so many pixels, as a jpg."""
    image = decode(path.read_bytes(), Limits()).image
    factor = math.sqrt(megapixels * 1e6 / (image.shape[0] * image.shape[1]))
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(large, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def plain_loop() -> Callable[[bytes], int]:
    """Number of faces found and embedded in a file, in the manner of `face_recognition`."""
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    encoder = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())

    def count(data: bytes) -> int:
        image = np.array(Pillow.open(BytesIO(data)).convert("RGB"))
        shapes = [predictor(image, box) for box in detector(image, 1)]
        return len([encoder.compute_face_descriptor(image, shape, 1) for shape in shapes])

    return count


if __name__ == "__main__":
    main()
