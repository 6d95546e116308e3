"""The 478 points of a face by MediaPipe's face mesh (Kartynnik et al. 2019), and whether there is a face at all.

The network gets a square 1.5 times as large as the box around the face's points, rotated so that the eyes are level. A
detector's box and eyes have an error of a tenth, so the network runs twice: the second square is that of the first
points.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces.base import Box
from shared.faces.face_crop import ResizedCrop, crop_face_quickly
from shared.faces.onnx_sessions import open_session
from shared.faces.rotation import measure_eye_tilt
from shared.imaging.array_types import Image, Points
from shared.settings import FaceSettings

POINTS, IRISES = 478, 468  # all points, and the first of the irises'
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners, of the person's own right and left; the first is on the picture's left
INNER_RIGHT, INNER_LEFT = 133, 362  # their inner corners
SIDE = 256  # pixels; the network's input
AROUND = 1.5  # side of the network's square, in sides of the box around the points
CLOSEUP_FACE, CLOSEUP_SIDE = 288, 640  # pixels: a little more than the network's, with room for a rotation

Points3D = NDArray[np.float64]
"""(N, 3): x, y in pixels of the picture, z in the same unit, growing away from the camera."""


@dataclass(frozen=True)
class Place:
    """A square around a face, rotated with it.

    Attributes:
        x, y: its center in pixels.
        side: its side in pixels.
        roll: its rotation in degrees, positive clockwise.
    """

    x: float
    y: float
    side: float
    roll: float

    @property
    def box(self) -> Box:
        half = self.side / 2
        return Box(self.x - half, self.y - half, self.x + half, self.y + half)


@dataclass(frozen=True, eq=False)
class Look:
    """The network's output.

    Attributes:
        points: (478, 3), see Points3D; the last ten are the irises', which are sometimes far off.
        presence: logit of there being a face.
        unrest: mean distance of the points from those of the first run, in sides of their box.
    """

    points: Points3D
    presence: float
    unrest: float


class FaceMesh:
    """The network, loaded from a folder."""

    def __init__(self, folder: Path, settings: FaceSettings) -> None:
        self._session = open_session(folder / "face_mesh_478.onnx", settings)
        self._input = self._session.get_inputs()[0].name

    def look(self, image: Image, box: Box, eyes: Points) -> Look:
        """Find the points of the face in a detector's box; `eyes`, (2, 2), are where the detector has them."""
        x, y = box.center
        place = Place(x, y, AROUND * max(box.width, box.height), measure_eye_tilt(*eyes))
        view = crop_face_quickly(image, place.box, CLOSEUP_FACE, CLOSEUP_SIDE)
        first, _ = self._look_once(view, place)
        second = around(first)
        points, presence = self._look_once(view, second)
        moved = np.linalg.norm(points[:IRISES, :2] - first[:IRISES, :2], axis=1).mean()
        return Look(points, presence, float(moved) * AROUND / second.side)

    def _look_once(self, view: ResizedCrop, place: Place) -> tuple[Points3D, float]:
        inwards = _inwards(view, place)
        crop = cv2.warpAffine(
            view.image, inwards, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        outputs = self._session.run(None, {self._input: crop[None].astype(np.float32) / 255})
        numbers = next(one for one in outputs if one.size == 3 * POINTS).reshape(POINTS, 3).astype(float)
        presence = next(one for one in outputs if one.ndim == 4 and one.size == 1)
        back = cv2.invertAffineTransform(inwards)
        inside = (numbers[:, :2] - 0.5) @ back[:, :2].T + back[:, 2]
        flat = (inside + 0.5) / view.factor + [view.left - 0.5, view.top - 0.5]
        return np.column_stack([flat, numbers[:, 2] * place.side / SIDE]), float(presence.ravel()[0])


def eyes(points: Points3D) -> Points:
    """Return the centers of both eyes, (2, 2), the one on the picture's left first."""
    corners: Points = points[[[RIGHT_EYE, INNER_RIGHT], [LEFT_EYE, INNER_LEFT]], :2]
    return corners.mean(axis=1)


def around(points: Points3D) -> Place:
    """Return the square in which the network expects a face with these points."""
    flat = points[:, :2]
    roll = measure_eye_tilt(flat[RIGHT_EYE], flat[LEFT_EYE])
    angle = np.radians(roll)
    level = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # of row vectors
    turned = flat @ level
    least, most = turned.min(axis=0), turned.max(axis=0)
    x, y = (least + most) / 2 @ level.T
    return Place(float(x), float(y), AROUND * float((most - least).max()), roll)


def _inwards(view: ResizedCrop, place: Place) -> NDArray[np.float64]:
    """Return the affine map from pixels of the close-up to pixels of the network's square, (2, 3)."""
    factor = SIDE / (place.side * view.factor)
    angle = np.radians(place.roll)
    turn = factor * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    center = (np.array([place.x + 0.5 - view.left, place.y + 0.5 - view.top])) * view.factor - 0.5
    return np.column_stack([turn, np.array([SIDE, SIDE]) / 2 - 0.5 - turn @ center])
