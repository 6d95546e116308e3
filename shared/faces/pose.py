"""The pose of a face, from its 68 landmarks and a generic head, and from its mesh if it has one.

The generic head alone takes some frontal faces for turned ones, by 16 degrees and more; the mesh's depth alone
understates how far a head is turned. If there is a mesh, the mean of both is used. With limits of 20 degrees it agrees
with the labels of all 21 labeled photos, 16 frontal and 5 not.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from shared.faces.base import Face
from shared.faces.rotation import measure_roll
from shared.imaging.array_types import Points

# A generic adult head by 14 of the 68 landmarks; x to the face's left, y up, z forward, about in centimetres.
# The model of lincolnhard/head-pose-estimation, after Martin, Erdmenger et al., "Real time head model creation" (2014).
RIGID = [17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54, 57, 8]
HEAD = np.array(
    [
        [-6.825897, 6.760612, 4.402142],
        [-1.330353, 7.122144, 6.903745],
        [1.330353, 7.122144, 6.903745],
        [6.825897, 6.760612, 4.402142],
        [-5.311432, 5.485328, 3.987654],
        [-1.789930, 5.393625, 4.413414],
        [1.789930, 5.393625, 4.413414],
        [5.311432, 5.485328, 3.987654],
        [-2.005628, 1.409845, 6.165652],
        [2.005628, 1.409845, 6.165652],
        [-2.774015, -2.080775, 5.048531],
        [2.774015, -2.080775, 5.048531],
        [0.000000, -3.116408, 6.097667],
        [0.000000, -7.415691, 4.070434],
    ]
)
FAR = 8.0  # camera distance in face spans; portraits are taken from 1 m and more
RESTING_PITCH = -2.0  # degrees by the generic head of a level gaze: 407 studio portraits, median -1.5, frontal -2.4
# of the mesh: pairs of symmetric points, and two points on the midline that the mouth does not move
SIDES = [(33, 263), (133, 362), (127, 356), (234, 454), (58, 288)]
FOREHEAD, NOSE = 10, 2
UNDERSTATED = 1.5  # ratio of the generic head's yaw to the mesh's, over 213 faces
# pitch of a level gaze by the mesh's depth, and by landmarks from a mesh: medians of 59 studio portraits
RESTING_MESH_PITCH, RESTING_MAPPED_PITCH = 1.2, -1.0


@dataclass(frozen=True)
class Pose:
    """Angles in degrees, 0 for a face that looks into the camera.

    Attributes:
        yaw: rotation about the vertical axis; positive if the nose points to the right of the picture.
        pitch: nodding; positive if the face looks up.
        roll: rotation in the picture; positive clockwise.
    """

    yaw: float
    pitch: float
    roll: float


def measure_pose(face: Face) -> Pose:
    """Measure the pose of a face by its landmarks, and by its mesh if it has one."""
    seen = estimate_pose(face.landmarks)
    if face.mesh is None:
        return seen
    yaw, pitch = _by_mesh(face.mesh)
    return Pose((seen.yaw + yaw) / 2, (seen.pitch - RESTING_MAPPED_PITCH + pitch) / 2, seen.roll)


def estimate_pose(landmarks: Points) -> Pose:
    """Return the pose that projects the generic head onto the landmarks, (68, 2) in pixels, with the least error.

    The camera is assumed to be far away and to look at the face, so that the face's place in the picture and crops do
    not change the result.
    """
    points = landmarks[RIGID]
    center = points.mean(axis=0)
    span = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    focal = FAR * span
    camera = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]])
    head = HEAD * [1, -1, -1]  # the camera's axes: y down, z away from it
    _, rotation, _ = cv2.solvePnP(head, points - center, camera, np.zeros(4), flags=cv2.SOLVEPNP_SQPNP)
    matrix, _ = cv2.Rodrigues(rotation)
    forward = matrix @ [0, 0, -1]
    yaw = np.degrees(np.arctan2(forward[0], -forward[2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[1], -1, 1)))
    return Pose(float(yaw), float(pitch - RESTING_PITCH), measure_roll(landmarks))


def _by_mesh(mesh: Points) -> tuple[float, float]:
    """Return yaw and pitch in degrees from the depth of a mesh, (478, 3)."""
    across = _unit(np.mean([_unit(mesh[right] - mesh[left]) for left, right in SIDES], axis=0))
    down = mesh[NOSE] - mesh[FOREHEAD]
    ahead = -np.cross(across, _unit(down - across * (across @ down)))
    yaw = UNDERSTATED * np.degrees(np.arcsin(np.clip(across[2], -1, 1)))
    return float(yaw), float(np.degrees(np.arcsin(np.clip(-ahead[1], -1, 1))) - RESTING_MESH_PITCH)


def _unit(vector: Points) -> Points:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
