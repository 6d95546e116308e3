"""The embedded face engine: small networks on onnxruntime that may be used commercially.

    BlazeFace finds candidates -> it looks at each in four rotations -> face mesh: 478 points, and whether it is a face
    -> the 68 landmarks -> dlib's ResNet computes the embedding

| candidate | result |
|---|---|
| confirmed in no rotation, or not by the mesh, or the mesh's points do not settle | none; `hidden_face` looks again |
| the same, and not by `hidden_face` either, though the detector was nearly sure | none, but a doubt |
| a neighbor's face that its closer look shows too | not this candidate's |
| same place as a better candidate | none |
| tilted by more than 110 degrees, plainly | none: the picture is upside down, which `lying.advise_turn` reports |
| the same with doubt | none; `hidden_face` looks again |
| any other | a face, with its roll |

The weights lie in `weights/`, with their model card and licenses.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from shared.devices import device_errors
from shared.faces.base import Box, Face, FaceError, FaceSearch
from shared.faces.blazeface import BlazeFace, Candidate
from shared.faces.face_mesh import FaceMesh, Look
from shared.faces.face_vector import SIDE, FaceVector, chip
from shared.faces.hidden_face import HiddenFaces
from shared.faces.mesh_landmarks import landmarks
from shared.faces.onnx_sessions import CUDA
from shared.faces.rotation import measure_eye_tilt, measure_roll
from shared.imaging.array_types import Embedding, Image, Points
from shared.settings import FaceSettings

WEIGHTS = Path(__file__).parent / "weights"
PRESENT = float(np.log(0.9 / 0.1))  # logit of the mesh's presence: 0.9; MediaPipe's own default is 0.5
UNREST = 0.06  # movement between two looks, in sides of the box; up to 0.03 for faces, 0.02 to 0.5 for others
DOUBTFUL = 0.02  # unrest from which the way up is checked: upright faces have up to 0.01, half hidden ones more
PLAIN = 0.01  # unrest of a whole face that is upside down; half hidden upright ones that look so have 0.019 and more
MOST_CANDIDATES = 100  # of one picture, best first: a crowd takes three seconds of one core
MOST_ROLL = 110.0  # degrees; a face on its side is measured with some noise, beyond that it is upside down
SURELY_OVER = 140.0  # degrees of tilt by the detector's own eyes, whose error is up to 30
SAME_FACE = 0.5  # distance of two faces' centers, in widths of the better one, below which they are one face
# score from which an unconfirmed candidate may be a face: 0.80 and more had those in 248 pictures, 0.71 what is none
NEARLY_SURE = 0.75
PLAINLY_SMALLER = 0.5  # of the smallest face's width: whoever is that far behind is hardly meant
OF_THE_PICTURE = (MemoryError, cv2.error)  # the picture is too large for the machine; `photos.assessment` reports it
SAME_PERSON = 0.49  # the dlib engine's; one person reaches 0.43, relatives begin at 0.51, benchmarks/verification.py
# the box by the 68 points: how far their mean lies below the box's center, in box widths, and the box's width in root
# mean squares of the points' distances from their mean. Medians of dlib's boxes of 111 faces, so that measures that
# depend on the box agree between the two engines
BELOW, WIDTH = 0.043, 2.83


class MeshEngine:
    """Faces by BlazeFace, the face mesh and dlib's ResNet, offline.

    Attributes:
        provider: the provider of onnxruntime that is in use.
    """

    name = "mesh"
    same_person = SAME_PERSON

    def __init__(self, settings: FaceSettings) -> None:
        self._detector = BlazeFace(WEIGHTS, settings)
        self._mesh = FaceMesh(WEIGHTS, settings)
        self._hidden = HiddenFaces(self._detector, self._mesh)
        self._recognizer = FaceVector(WEIGHTS, settings)
        self.provider = self._recognizer.provider
        if self.provider == CUDA:
            self._warm()

    def detect(self, image: Image) -> list[Face]:
        """Return all faces from left to right; the search runs on a bounded size, the landmarks on the full picture.

        Raises FaceError for a picture that is not RGB; DeviceError, OutOfMemory or DeviceBroken if the device fails.
        """
        return self.search(image).faces

    def search(self, image: Image) -> FaceSearch:
        """Return the faces as `detect` does, and where the detector is nearly sure of others that are not too small."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise FaceError(f"no RGB picture of 8 bits: {image.dtype}, {image.shape}")
        with device_errors(but=OF_THE_PICTURE):
            candidates = self._detector.candidates(image)[:MOST_CANDIDATES]
            looks = [(self._confirm(image, candidate, candidates), candidate) for candidate in candidates]
            found = [(look, candidate.score) for look, candidate in looks if look is not None]
            if not found:
                return FaceSearch(_upright_faces(self._hidden.find(image, candidates)), [])
            missed = [candidate for look, candidate in looks if look is None]
            faces = _upright_faces([*found, *self._hidden.find_among(image, missed, candidates)])
            return FaceSearch(faces, _doubt(missed, faces))

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return 128 numbers of about unit length."""
        with device_errors(but=OF_THE_PICTURE):
            vector = self._recognizer.vector(chip(image, face.landmarks))
        if not np.isfinite(vector).all():
            raise FaceError("there is no usable vector for this face")
        return vector

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Return the Euclidean distance; see SAME_PERSON."""
        return float(np.linalg.norm(a - b))

    def _warm(self) -> None:
        """Run all networks once: on CUDA the first run takes seconds to choose kernels."""
        blank = np.zeros((SIDE, SIDE, 3), np.uint8)
        self._detector.candidates(blank)
        self._mesh.look(blank, Box(0, 0, SIDE, SIDE), np.array([[0.3, 0.4], [0.7, 0.4]]) * SIDE)
        self._recognizer.vector(blank)

    def _confirm(self, image: Image, candidate: Candidate, candidates: Sequence[Candidate] = ()) -> Look | None:
        """Return the mesh of the rotation in which it is surest of a face; None if it sees no face in any.

        Args:
            candidates: all of the picture.
        """
        turns = self._detector.detect_rotated(image, candidate, candidates)
        looks = [(self._mesh.look(image, one.box, one.eyes), one) for one in turns]
        best, seen = max(looks, key=lambda one: one[0].presence, default=(None, candidate))
        if best is None or best.presence < PRESENT or best.unrest > UNREST:
            return None
        if abs(measure_eye_tilt(*seen.eyes)) > SURELY_OVER:
            return best if best.unrest <= PLAIN else None
        if best.unrest > DOUBTFUL and self._hidden.settles_upside_down(image, seen, best.unrest, candidates):
            return self._hidden.look(image, candidate, candidates)
        return best


def box_around(points: Points) -> Box:
    """Return the box of a face with these landmarks."""
    center = points.mean(axis=0)
    side = WIDTH * float(np.sqrt(((points - center) ** 2).sum(axis=1).mean()))
    x, y = float(center[0]), float(center[1]) - BELOW * side
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _upright_faces(found: list[tuple[Look, float]]) -> list[Face]:
    """Return faces from left to right, one for each place, of meshes and the detector's scores."""
    faces: list[Face] = []
    for look, score in sorted(found, key=lambda one: -one[0].presence):
        points = landmarks(look.points)
        face = Face(box_around(points), points, score, look.points)
        if not any(_is_same(face, other) for other in faces):
            faces.append(face)
    upright = [face for face in faces if abs(measure_roll(face.landmarks)) <= MOST_ROLL]
    return sorted(upright, key=lambda face: face.box.center[0])


def _doubt(missed: Sequence[Candidate], faces: Sequence[Face]) -> list[Box]:
    """Return where an unconfirmed candidate may be another face, about as large as those that were found."""
    least = PLAINLY_SMALLER * min((face.box.width for face in faces), default=0.0)
    boxes = [one.box for one in missed if one.score >= NEARLY_SURE and one.box.width >= least]
    return [box for box in boxes if not any(_lies_on(box, face) for face in faces)]


def _lies_on(box: Box, face: Face) -> bool:
    apart = np.hypot(*np.subtract(box.center, face.box.center))
    return bool(apart < SAME_FACE * max(face.box.width, box.width))


def _is_same(face: Face, better: Face) -> bool:
    apart = np.hypot(*(face.landmarks.mean(axis=0) - better.landmarks.mean(axis=0)))
    return bool(apart < SAME_FACE * better.box.width)
