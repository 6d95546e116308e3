"""Which points of a template's face and of a person's photo belong together, and where they shall lie.

| known | the person's face on the template's head | what is drawn | what moves |
|---|---|---|---|
| landmarks | the photo's, turned and scaled in the plane | landmarks and ten points on the forehead | the same |
| both meshes | the same, or turned in space as far as the poses differ | all points | landmarks and hairline |

Between the template's face and the person's, the target lies at the share of the shape that the degree allows. A face
that is turned in space has the right pose but less likeness, by two recognizers: as long as the poses agree, it is not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.generate.face.landmarks import fit_similarity, with_forehead
from shared.faces import pose
from shared.faces.face_mesh import IRISES
from shared.faces.mesh_landmarks import HAIRLINE
from shared.faces.mesh_landmarks import landmarks as map_landmarks
from shared.imaging.array_types import Points

SAME_POSE, OTHER_POSE = 10.0, 30.0  # pose difference, degrees, over which the shape's share falls: ears and hair tear
NODDING = 0.5  # weight of pitch: it is confused with the chin's length, and it brings no hidden ear into view
LEAST_SHAPE = 0.15  # share of the shape that is left at OTHER_POSE
# of the mesh, where no expression moves a face: forehead, bridge and tip of the nose, corners of the eyes, cheekbones
# and the face's sides
RIGID = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 127, 356, 234, 454]
RIGID += [103, 332, 67, 297, 50, 280, 205, 425, 116, 345, 101, 330]


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Points that show the same, in the template, in the person's photo and in the fused face.

    Attributes:
        landmarks: of the fused face, (68, 2), in pixels of the template.
        mesh: of the fused face, (478, 3); None unless both faces have one.
        moved, moved_to: points of the template, and where they shall lie, (N, 2); the first of them are its landmarks.
        drawn, drawn_to: points of the photo, and where they shall lie in the template, (M, 2).
    """

    landmarks: Points
    mesh: Points | None
    moved: Points
    moved_to: Points
    drawn: Points
    drawn_to: Points


def correspond(
    landmarks: Points, mesh: Points | None, photo_landmarks: Points, photo_mesh: Points | None, shape: float
) -> Correspondence:
    """Find the target between a template's face and a person's photo.

    Args:
        landmarks, mesh: of the template's face, (68, 2) and (478, 3), in pixels.
        photo_landmarks, photo_mesh: of the face in the photo, in its pixels.
        shape: the share of the person's shape, 0 to 1.
    """
    agreement = pose_agreement(photo_landmarks, landmarks)
    place = fit_similarity(photo_landmarks, landmarks)
    if mesh is None or photo_mesh is None:  # another pose's shape would turn the head: then little of it is taken
        target = landmarks + shape * agreement * (place(photo_landmarks) - landmarks)
        moved_to = with_forehead(target)
        return Correspondence(
            target, None, with_forehead(landmarks), moved_to, with_forehead(photo_landmarks), moved_to
        )
    flat = np.column_stack([place(photo_mesh[:, :2]), place.scale * photo_mesh[:, 2]])
    turned = turn_into_pose(photo_mesh, mesh)
    placed = mesh + shape * (turned + agreement * (flat - turned) - mesh)
    target = map_landmarks(placed)
    moved, moved_to = (np.vstack([points, one[HAIRLINE, :2]]) for points, one in ((landmarks, mesh), (target, placed)))
    return Correspondence(target, placed, moved, moved_to, photo_mesh[:IRISES, :2], placed[:IRISES, :2])


def pose_agreement(source: Points, target: Points) -> float:
    """Return how well the poses agree, LEAST_SHAPE to 1: how much of the photo's shape fits the head as it is.

    Args:
        source, target: landmarks of the photo's face and of the face to be changed, (68, 2) each.
    """
    one, other = pose.estimate_pose(source), pose.estimate_pose(target)
    apart = float(np.hypot(one.yaw - other.yaw, NODDING * (one.pitch - other.pitch)))
    return float(np.clip(1 - (apart - SAME_POSE) / (OTHER_POSE - SAME_POSE), LEAST_SHAPE, 1))


def turn_into_pose(mesh: Points, other: Points) -> Points:
    """Turn, scale and shift a mesh in space until its rigid points lie nearest to those of another one.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).
    """
    source, target = mesh[RIGID], other[RIGID]
    center, middle = source.mean(axis=0), target.mean(axis=0)
    a, b = source - center, target - middle
    left, strengths, right = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])  # a mirror image is no rotation
    rotation: NDArray[np.float64] = left @ np.diag(signs) @ right
    scale = float((strengths * signs).sum() / np.square(a).sum())
    turned: Points = scale * (mesh - center) @ rotation.T + middle
    return turned
