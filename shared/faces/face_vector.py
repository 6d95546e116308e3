"""The embedding of a face by dlib's ResNet-29 (King 2017), on onnxruntime.

The network expects eyes, nose and mouth where the average face of its training has them, at 150 px. Its output differs
from dlib's own by the rounding of the weights to half precision, 0.001 of its length.
"""

from pathlib import Path

import cv2
import numpy as np

from shared.faces.base import Box, Chip, FaceError
from shared.faces.face_crop import crop_face_quickly
from shared.faces.onnx_sessions import open_session
from shared.imaging.array_types import Embedding, Image, Points
from shared.settings import FaceSettings

SIDE = 150  # pixels; the network's input
CLOSEUP_FACE, CLOSEUP_SIDE = 200, 400  # pixels: a third more than the network's, with room for a rotation
ALIGNED = [*range(27, 55), *range(60, 65)]  # of the 68: nose, eyes, upper lip; brows and lower lip move too much
# where they lie in dlib's own chips for this network: python -m tools.average_face
# fmt: off
AVERAGE = np.array(
    [
        [73.9, 43.3], [73.9, 56.0], [73.9, 68.3], [73.9, 76.1], [61.4, 82.1], [66.3, 85.1],
        [73.9, 86.0], [81.6, 85.1], [86.4, 82.1], [36.7, 46.1], [42.5, 43.1], [50.6, 42.6],
        [59.5, 47.5], [52.1, 48.2], [43.9, 48.3], [88.4, 47.5], [97.3, 42.6], [105.4, 43.1],
        [111.2, 46.1], [104.0, 48.3], [95.8, 48.2], [47.7, 99.5], [56.3, 96.4], [65.8, 94.9],
        [73.9, 96.2], [82.1, 94.9], [91.6, 96.4], [100.2, 99.5], [49.7, 99.9], [66.7, 99.7],
        [73.9, 100.2], [81.1, 99.7], [98.2, 99.9],
    ]
)
# fmt: on


class FaceVector:
    """The network, loaded from a folder."""

    def __init__(self, folder: Path, settings: FaceSettings) -> None:
        self._session = open_session(folder / "face_vector.onnx", settings)

    @property
    def provider(self) -> str:
        """The provider of onnxruntime that is in use."""
        return str(self._session.get_providers()[0])

    def vector(self, chip: Chip) -> Embedding:
        """Return the 128 numbers of an RGB chip, uint8, (150, 150, 3)."""
        (vectors,) = self._session.run(None, {"chips": chip[None].astype(np.float32)})
        return vectors[0].astype(float)


def chip(image: Image, landmarks: Points) -> Chip:
    """Crop and align the face with these 68 landmarks for the network: RGB, uint8, (150, 150, 3).

    Raises FaceError if all landmarks are at the same place.
    """
    factor, turn, shift = _fit(landmarks[ALIGNED])
    x, y = np.linalg.solve(turn, np.array([SIDE / 2, SIDE / 2]) - shift)
    half = SIDE / factor / 2
    view = crop_face_quickly(image, Box(x - half, y - half, x + half, y + half), CLOSEUP_FACE, CLOSEUP_SIDE)
    within = turn / view.factor
    return cv2.warpAffine(
        view.image,
        np.column_stack([within, turn @ [view.left, view.top] + shift]),
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _fit(points: Points) -> tuple[float, Points, Points]:
    """Fit the similarity that maps the points to the average face by least squares; return factor, matrix and shift."""
    from_x, from_y = (points - points.mean(axis=0)).T
    to_x, to_y = (AVERAGE - AVERAGE.mean(axis=0)).T
    spread = (from_x**2 + from_y**2).sum()
    if not spread > 0:
        raise FaceError("the landmarks of this face cannot be aligned: they lie in one place")
    along, across = (from_x * to_x + from_y * to_y).sum() / spread, (from_x * to_y - from_y * to_x).sum() / spread
    turn = np.array([[along, -across], [across, along]])
    return float(np.hypot(along, across)), turn, AVERAGE.mean(axis=0) - turn @ points.mean(axis=0)
