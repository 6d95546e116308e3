"""The control images that ControlNets get: a patch's edges, the face's landmarks, or the patch itself.

| kind | control image | made for |
|---|---|---|
| canny | edges by `cv2.Canny`, white on black | control_v11p_sd15_canny, controlnet-canny-sdxl |
| pose | OpenPose's drawing of a face, made from our landmarks | control_v11p_sd15_openpose |
| tile | the patch | control_v11f1e_sd15_tile |

The pose image has no body and no hands: they are not detected, and the patch shows little of them.
"""

import cv2
import numpy as np

from functions.generate.face.landmarks import EYES
from shared.imaging.array_types import Image, Points

LOW, HIGH = 100, 200  # Canny's thresholds; the canny ControlNets were trained with them and are used with them
POINT_RADIUS = 3  # pixels in an image of side 512, as in OpenPose's drawing of faces
POINT_SIDE = 512


def draw_control_image(kind: str, patch: Image, landmarks: Points) -> Image:
    """Draw the control image of a patch for a kind of ControlNet.

    Args:
        kind: `canny`, `pose` or `tile`.
        patch: RGB, uint8, (S, S, 3).
        landmarks: landmarks of the face, (68, 2), in pixels of the patch.

    Returns:
        RGB, uint8, (S, S, 3).
    """
    if kind == "canny":
        return draw_edges(patch)
    return draw_face_points(landmarks, patch.shape[0]) if kind == "pose" else patch


def draw_edges(patch: Image) -> Image:
    """Draw the patch's edges, white on black; RGB, uint8, (S, S, 3)."""
    found: Image = np.repeat(cv2.Canny(patch, LOW, HIGH)[:, :, None], 3, axis=2)
    return found


def draw_face_points(landmarks: Points, side: int) -> Image:
    """Draw OpenPose's 70 points of a face as white dots on black: the 68 of iBUG 300-W and the two pupils.

    The landmarks have no pupils, so the mean of each eye's outline takes their place.

    Args:
        landmarks: (68, 2), in pixels of the image.
        side: width and height of the image.

    Returns:
        RGB, uint8, (side, side, 3).
    """
    pupils = np.array([landmarks[eye].mean(axis=0) for eye in EYES])
    drawing: Image = np.zeros((side, side, 3), np.uint8)
    radius = max(1, round(POINT_RADIUS * side / POINT_SIDE))
    for x, y in np.rint(np.vstack([landmarks, pupils])).astype(int):
        cv2.circle(drawing, (int(x), int(y)), radius, (255, 255, 255), -1)
    return drawing
