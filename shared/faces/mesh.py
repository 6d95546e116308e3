"""The embedded face engine: small networks on onnxruntime that anybody may use commercially.

    BlazeFace finds candidates -> each is looked at in four turns -> face mesh: 478 points, and whether it is a face
    -> the 68 landmarks -> dlib's ResNet gives the vector

| a candidate | becomes |
|---|---|
| that no turn confirms, or the mesh does not, or whose points do not come to rest | nothing |
| whose points are those of a better one | nothing |
| tilted by more than 110 degrees | nothing: the picture is the wrong way up, which `lying.advise_turn` says |
| all else | a face, with its roll |

The weights lie in `weights/`, with their model card and licenses.
"""

from pathlib import Path

import cv2
import numpy as np

from shared.devices import device_errors
from shared.faces.base import Box, Face, FaceError
from shared.faces.blazeface import BlazeFace, Candidate
from shared.faces.face_mesh import FaceMesh, Look
from shared.faces.face_vector import SIDE, FaceVector, chip
from shared.faces.mesh_landmarks import landmarks
from shared.faces.onnx_sessions import CUDA
from shared.faces.rotation import measure_eye_tilt, measure_roll
from shared.imaging.array_types import Embedding, Image, Points
from shared.settings import FaceSettings

WEIGHTS = Path(__file__).parent / "weights"
PRESENT = float(np.log(0.9 / 0.1))  # logit of the mesh's presence; MediaPipe's own default is a half
UNREST = 0.06  # sides of the face's box between two looks; faces have up to 0.03, what is none 0.02 to 0.5
MOST_CANDIDATES = 100  # of one picture, best first: a crowd takes three seconds of one core
MOST_ROLL = 110.0  # degrees; faces on their side are found with some noise, what is further is upside down
SURELY_OVER = 140.0  # degrees that the detector's own eyes are tilted by, which are true to 30
SAME_FACE = 0.5  # distance of two faces' middles, in the widths of the better one, below which they are one
OF_THE_PICTURE = (MemoryError, cv2.error)  # a picture too large for the machine; `photos.assessment` says so
SAME_PERSON = 0.49  # the dlib engine's; one person reaches 0.43, relatives begin at 0.51, benchmarks/verification.py
# where the boxes lie around the 68 points: how far below the box's center their mean is, in box widths, and the width
# in root mean squares of the points' distances from it. The medians of the boxes that dlib's detector gives 111 faces,
# so that what is measured on a box means the same by both engines
BELOW, WIDTH = 0.043, 2.83


class MeshEngine:
    """Faces by BlazeFace, the face mesh and dlib's ResNet; offline, on the provider that the settings name.

    Attributes:
        provider: of onnxruntime, the one really used.
    """

    name = "mesh"
    same_person = SAME_PERSON

    def __init__(self, settings: FaceSettings) -> None:
        self._detector = BlazeFace(WEIGHTS, settings)
        self._mesh = FaceMesh(WEIGHTS, settings)
        self._recognizer = FaceVector(WEIGHTS, settings)
        self.provider = self._recognizer.provider
        if self.provider == CUDA:
            self._warm()

    def detect(self, image: Image) -> list[Face]:
        """All faces from left to right; the search runs on a bounded size, the landmarks on the picture itself.

        DeviceError, OutOfMemory or DeviceBroken where it is not the picture that is at fault.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise FaceError(f"no RGB picture of 8 bits: {image.dtype}, {image.shape}")
        with device_errors(but=OF_THE_PICTURE):
            found = [
                (look, candidate.score)
                for candidate in self._detector.candidates(image)[:MOST_CANDIDATES]
                if (look := self._confirm(image, candidate)) is not None
            ]
        faces: list[Face] = []
        for look, score in sorted(found, key=lambda one: -one[0].presence):
            points = landmarks(look.points)
            face = Face(box_around(points), points, score, look.points)
            if not any(_is_same(face, other) for other in faces):
                faces.append(face)
        upright = [face for face in faces if abs(measure_roll(face.landmarks)) <= MOST_ROLL]
        return sorted(upright, key=lambda face: face.box.center[0])

    def embed(self, image: Image, face: Face) -> Embedding:
        """128 numbers of about unit length."""
        with device_errors(but=OF_THE_PICTURE):
            vector = self._recognizer.vector(chip(image, face.landmarks))
        if not np.isfinite(vector).all():
            raise FaceError("there is no usable vector for this face")
        return vector

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Euclidean; see SAME_PERSON."""
        return float(np.linalg.norm(a - b))

    def _warm(self) -> None:
        """The first run on CUDA takes seconds to choose kernels: better now than in the first request."""
        blank = np.zeros((SIDE, SIDE, 3), np.uint8)
        self._detector.candidates(blank)
        self._mesh.look(blank, Box(0, 0, SIDE, SIDE), np.array([[0.3, 0.4], [0.7, 0.4]]) * SIDE)
        self._recognizer.vector(blank)

    def _confirm(self, image: Image, candidate: Candidate) -> Look | None:
        """What the mesh sees in the turn that it likes best; None where it sees no face in any."""
        turns = self._detector.detect_rotated(image, candidate)
        if all(abs(measure_eye_tilt(*one.eyes)) > SURELY_OVER for one in turns):
            return None
        looks = [self._mesh.look(image, one.box, one.eyes) for one in turns]
        best = max(looks, key=lambda look: look.presence, default=None)
        return best if best is not None and best.presence >= PRESENT and best.unrest <= UNREST else None


def box_around(points: Points) -> Box:
    """The box of a face that has these landmarks."""
    center = points.mean(axis=0)
    side = WIDTH * float(np.sqrt(((points - center) ** 2).sum(axis=1).mean()))
    x, y = float(center[0]), float(center[1]) - BELOW * side
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _is_same(face: Face, better: Face) -> bool:
    apart = np.hypot(*(face.landmarks.mean(axis=0) - better.landmarks.mean(axis=0)))
    return bool(apart < SAME_FACE * better.box.width)
