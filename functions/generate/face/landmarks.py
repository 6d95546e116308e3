"""The 68 landmarks of the iBUG 300-W scheme: which index is which, and how to align and compare two sets."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces.mesh_landmarks import HAIRLINE
from shared.imaging.array_types import Points

LANDMARKS = 68
JAW = slice(0, 17)
CHIN = 8
BROWS = slice(17, 27)
BROW_SIDES = (slice(17, 22), slice(22, 27))
NOSE_BRIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
EYES = (slice(36, 42), slice(42, 48))
LIPS = slice(48, 60)
MOUTH = slice(60, 68)  # the inner edge of the lips; encloses the teeth, or nothing if the mouth is closed

# index of each landmark's mirror image
MIRROR = np.array(
    [
        *(range(16, -1, -1)),  # jaw
        *(range(26, 16, -1)),  # brows
        *(*range(27, 31), *range(35, 30, -1)),  # nose
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(*range(54, 47, -1), *range(59, 54, -1)),  # lips
        *(*range(64, 59, -1), 67, 66, 65),  # mouth
    ]
)
FOREHEAD_HEIGHT = 0.9  # above the brows, as a share of the distance from nose bridge to brows: below most hairlines


@dataclass(frozen=True)
class Similarity:
    """A rotation, scaling and shift of the plane, in complex numbers: z -> factor * z + shift."""

    factor: complex
    shift: complex

    @property
    def scale(self) -> float:
        return abs(self.factor)

    def __call__(self, points: Points) -> Points:
        """Return the transformed points, (N, 2)."""
        moved = self.factor * (points[:, 0] + 1j * points[:, 1]) + self.shift
        return np.stack([moved.real, moved.imag], axis=1)


def fit_similarity(source: Points, target: Points) -> Similarity:
    """Return the least-squares similarity from `source` to `target`, both (N, 2) with N >= 2.

    cv2.estimateAffinePartial2D would drop points as outliers, and scikit-image is installed only with another extra.
    """
    a, b = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    a0, b0 = a - a.mean(), b - b.mean()
    factor = complex(np.vdot(a0, b0) / np.vdot(a0, a0))
    return Similarity(factor, complex(b.mean() - factor * a.mean()))


def face_width(points: Points) -> float:
    """Return the largest width of the jaw line in pixels; all masks and blurs are sized by it."""
    jaw = points[JAW]
    return float(max(np.linalg.norm(jaw[i] - jaw[16 - i]) for i in range(8)))


def fit_upright(points: Points, width: float, center: tuple[float, float]) -> NDArray[np.float64]:
    """Return the similarity, (2, 3), that levels the eyes, makes the face so wide and moves its mean to `center`.

    Args:
        points: landmarks, (68, 2), in pixels of the picture.
        width, center: in pixels of the upright picture; the center is x and y.
    """
    middle = points.mean(axis=0)
    across = points[EYES[1]].mean(axis=0) - points[EYES[0]].mean(axis=0)
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), angle, width / face_width(points))
    matrix[:, 2] += np.array(center) - middle
    upright: NDArray[np.float64] = matrix
    return upright


def measure_misfit(source: Points, target: Points) -> float:
    """Return how much pose and expression differ: the mean distance of the aligned landmarks, in target face widths."""
    return float(np.linalg.norm(fit_similarity(source, target)(source) - target, axis=1).mean() / face_width(target))


def measure_expression(points: Points) -> Points:
    """Return how far the mouth is open, how wide it is and how high its corners are lifted, in face widths, (3,)."""
    up = points[NOSE_BRIDGE].mean(axis=0) - points[CHIN]
    up = up / np.linalg.norm(up)
    corners, middle = points[[48, 54]], points[[51, 57]].mean(axis=0)
    opened, wide = np.linalg.norm(points[62] - points[66]), np.linalg.norm(corners[0] - corners[1])
    return np.array([opened, wide, (corners.mean(axis=0) - middle) @ up]) / face_width(points)


def measure_openness(points: Points) -> float:
    """Return the height of the eyes' openings as a share of their width, the mean of both."""
    eyes = [points[eye] for eye in EYES]
    heights = [np.linalg.norm((eye[1] + eye[2]) - (eye[4] + eye[5])) / 2 for eye in eyes]
    return float(np.mean([high / np.linalg.norm(eye[0] - eye[3]) for high, eye in zip(heights, eyes, strict=True)]))


def hairline(mesh: Points | None) -> Points | None:
    """Return the points of a face mesh, (478, 3), along which its forehead ends, (7, 2); None without a mesh."""
    return None if mesh is None else mesh[HAIRLINE, :2]


def mirror(points: Points, width: int) -> Points:
    """Return the landmarks, (68, 2), of the mirror image of a picture that is `width` pixels wide."""
    flipped: Points = points[MIRROR].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


def forehead(points: Points) -> Points:
    """Return ten points on the forehead above the brows, (10, 2); the scheme itself has none there."""
    brows = points[BROWS]
    above: Points = brows + (brows.mean(axis=0) - points[NOSE_BRIDGE].mean(axis=0)) * FOREHEAD_HEIGHT
    return above


def with_forehead(points: Points) -> Points:
    """Return the 68 landmarks followed by ten points on the forehead, (78, 2)."""
    return np.vstack([points, forehead(points)])
