"""Where eyes, nose and mouth of the face mesh lie in the pictures that dlib's recognizer was trained on.

    python -m tools.average_face FOLDER...

prints `AVERAGE` of `shared/faces/face_vector.py`: positions in pixels of the 150 that the network sees, the medians
over the faces of all pictures in these folders and of those that installed packages ship, made alike left and right.
How such a picture is cut out is asked of dlib itself, by its five landmarks (CC0). Needs the extra `dlib`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import dlib
import face_recognition_models
import numpy as np

from benchmarks.pairs import SUFFIXES, read
from shared.faces.face_vector import ALIGNED, SIDE
from shared.faces.mesh import MeshEngine
from shared.imaging.array_types import Image, Points
from shared.settings import FaceSettings
from tests import pictures

PADDING = 0.25  # of dlib's recognizer
FINE = 8  # dlib's points are whole pixels, so it is asked about a picture so many times as large
WIDEST, NARROWEST = 400, 90  # pixels of a face: a far one is known too coarsely
# the 33 points mirrored: nose, eyes, upper lip, inner upper lip
MIRRORED = [0, 1, 2, 3, 8, 7, 6, 5, 4, 18, 17, 16, 15, 20, 19, 12, 11, 10, 9, 14, 13]
MIRRORED += [27, 26, 25, 24, 23, 22, 21, 32, 31, 30, 29, 28]


def main() -> None:
    """Measure and print."""
    folders = [Path(name) for name in sys.argv[1:]]
    shown = [pictures.astronaut(), pictures.hopper(), pictures.group()]
    shown += [read(path) for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
    engine = MeshEngine(FaceSettings(provider="cpu"))
    placed = np.array([points for image in shown for points in chips(image, engine)])
    middle = np.median(placed, axis=0)
    center = middle[:4, 0].mean()
    other = np.column_stack([2 * center - middle[:, 0], middle[:, 1]])[MIRRORED]
    print(f"{len(placed)} faces")
    print(np.round((middle + other) / 2, 1).tolist())


def chips(image: Image, engine: MeshEngine) -> Iterator[Points]:
    """The 33 points of each face of a picture, in the square that dlib cuts out."""
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_five_point_model_location())
    for face in engine.detect(image):
        if not NARROWEST <= face.box.width <= WIDEST or not detector(image, 1):
            continue
        left, top, right, bottom = face.box.rounded()
        five = predictor(image, dlib.rectangle(left, top, right - 1, bottom - 1))
        fine = dlib.points([dlib.point(part.x * FINE, part.y * FINE) for part in five.parts()])
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, 1, 1), fine)
        cut = dlib.get_face_chip_details(shape, SIDE, PADDING)
        rectangle = cut.rect
        center = np.array([rectangle.left() + rectangle.right(), rectangle.top() + rectangle.bottom()]) / 2 / FINE
        turn = np.array([[np.cos(cut.angle), -np.sin(cut.angle)], [np.sin(cut.angle), np.cos(cut.angle)]])
        yield (face.landmarks[ALIGNED] - center) @ turn * (SIDE * FINE / rectangle.width()) + SIDE / 2


if __name__ == "__main__":
    main()
