"""What ControlNets are shown of a patch: its edges, the points of the face, the patch itself.

| kind | picture | made for |
|---|---|---|
| canny | edges by `cv2.Canny`, white on black | control_v11p_sd15_canny, controlnet-canny-sdxl |
| pose | OpenPose's drawing of a face, from our own landmarks | control_v11p_sd15_openpose |
| tile | the patch | control_v11f1e_sd15_tile |

The pose has no body and no hands: nothing here looks for them, and the patch shows little of them.
"""

import cv2
import numpy as np

from functions.generate.face.landmarks import EYES
from shared.imaging.array_types import Image, Points

LOW, HIGH = 100, 200  # Canny's thresholds that the canny ControlNets were trained and are used with
POINT_RADIUS = 3  # pixels at a side of 512, as OpenPose's drawing of faces has them
POINT_SIDE = 512


def draw_control_image(kind: str, patch: Image, landmarks: Points) -> Image:
    """What a ControlNet of this kind is shown of a patch; RGB, uint8, of the patch's size.

    Args:
        kind: `canny`, `pose` or `tile`.
        patch: RGB, uint8, (S, S, 3).
        landmarks: of the face in the patch, (68, 2).
    """
    if kind == "canny":
        return draw_edges(patch)
    return draw_face_points(landmarks, patch.shape[0]) if kind == "pose" else patch


def draw_edges(patch: Image) -> Image:
    """Edges, white on black."""
    found: Image = np.repeat(cv2.Canny(patch, LOW, HIGH)[:, :, None], 3, axis=2)
    return found


def draw_face_points(landmarks: Points, side: int) -> Image:
    """OpenPose's 70 points of a face, white dots on black: the 68 of iBUG 300-W and the two pupils.

    We have no pupils: the middle of the eye's outline stands for each.
    """
    pupils = np.array([landmarks[eye].mean(axis=0) for eye in EYES])
    drawing: Image = np.zeros((side, side, 3), np.uint8)
    radius = max(1, round(POINT_RADIUS * side / POINT_SIDE))
    for x, y in np.rint(np.vstack([landmarks, pupils])).astype(int):
        cv2.circle(drawing, (int(x), int(y)), radius, (255, 255, 255), -1)
    return drawing
