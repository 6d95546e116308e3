"""Photo fix by a face restoration network: align the face for the network, restore it, and add back the change."""

import cv2
import numpy as np
from numpy.typing import NDArray

from functions.generate.face import masks
from functions.generate.face.landmarks import fit_similarity
from functions.generate.networks.image_network import ImageNetwork
from shared.faces import Box, Face, FaceEngine, FaceError
from shared.faces.antialiased_warp import warp_antialiased
from shared.faces.five_points import five_points
from shared.imaging.array_types import Image, Mask, Points
from shared.imaging.quantization import round_to_levels

SIDE = 512  # pixels; input size of GFPGAN and RestoreFormer
# eyes, tip of the nose and corners of the mouth of an aligned FFHQ face at 512 px, as facexlib aligns for both networks
FFHQ = np.array([[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]])
STRANGER = 0.5  # of the engine's same-person distance; a face that changed more is dropped, as in EasyPhoto


def restore_face(
    image: Image, landmarks: Points, network: ImageNetwork, engine: FaceEngine, free: Mask, frames: Mask
) -> Image:
    """Restore the detail of a face.

    Args:
        image: RGB, uint8, (H, W, 3).
        landmarks: landmarks of the face, (68, 2), in pixels of `image`.
        network: a network of scale 1 for faces aligned as in FFHQ.
        engine: compares the face before and after; if it changed too much, a copy of `image` is returned.
        free: mask, (H, W), 0 where nothing may change.
        frames: mask, (H, W), of the frames of the face's glasses.

    Returns:
        RGB, uint8, (H, W, 3); bit-identical to `image` outside the face. Detail finer than 1/512 of the aligned face
        stays.
    """
    onto = fit_similarity(five_points(landmarks), FFHQ)
    f, s = onto.factor, onto.shift
    matrix = np.array([[f.real, -f.imag, s.real], [f.imag, f.real, s.imag]])
    aligned = warp_antialiased(image, matrix, SIDE, border=cv2.BORDER_REFLECT)
    difference = network(aligned) - aligned
    back: NDArray[np.float32] = cv2.warpAffine(
        difference, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    soft = (masks.face(landmarks, image.shape[:2], 0.0) * free * (1 - frames))[..., None]
    restored = round_to_levels(image + soft * back)
    return restored if _is_same_person(image, restored, landmarks, engine) else image.copy()


def _is_same_person(before: Image, after: Image, landmarks: Points, engine: FaceEngine) -> bool:
    face = Face(Box(*landmarks.min(axis=0), *landmarks.max(axis=0)), landmarks, 0.0)
    try:
        apart = engine.distance(engine.embed(before, face), engine.embed(after, face))
    except FaceError:
        return False
    return apart <= STRANGER * engine.same_person
