"""Which of a person's photos is drawn on a template's face: the one that costs least, of all and their mirror images.

| what costs | how much |
|---|---|
| pose and shape | the misfit of the aligned landmarks, in face widths: a turn by 15 degrees makes about 0.03 |
| a side of the face that the photo hides | what of the template's side would have to be stretched from it |
| expression | mouth open, wide, corners lifted; eyes shut |
| gaze | how far the irises are from where the template's are |
| what hides the face | glasses, a hand, a cup |
| size and sharpness | how often the photo's detail has to be doubled |
| the mirror | parting, moles and smile change sides |

Chosen for looks: of 24 people and templates with all their photos and mirror images, portraits are 0.022 farther from
the person than the nearest ones by faceres, and 0.028 by dlib (before, with a factor for the mirror, 0.022 and 0.029).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from functions.generate.face.landmarks import (
    EYES,
    NOSE_BRIDGE,
    face_width,
    measure_expression,
    measure_misfit,
    measure_openness,
    mirror,
)
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.photo_size import missing_size
from shared.imaging.array_types import Points

# as a factor of 1.3 on the whole cost it was too dear where poses differ: from a photo turned the other way the cheek
# before the template's ear is background, and the far side of the nose is folded onto the near one
MIRROR_PENALTY = 0.016
# of the logarithm to base 2 of how far a side of the face is stretched, from EVEN on: a frontal photo is stretched by
# 1.2 on a head turned by 20 degrees
STRETCH_WEIGHT, EVEN = 0.015, 0.3
# misfit added for a face that is hidden entirely; half a hidden mouth is then worse than a turn by 15 degrees
HIDDEN_PENALTY = 0.25
GLASSES_PENALTY = 0.03  # misfit added for glasses; a turn of the head by 15 degrees makes about as much
# of the difference of two mouths, in how far they are open, how wide, and how high their corners are lifted: a grin on
# a serious face costs as much as a turn by 20 degrees. Width counts less: it is the person's own, too, and with as much
# the closed frown of a narrow mouth came before the open smile of a wide one
EXPRESSION_WEIGHTS = np.array([0.4, 0.2, 0.4])
# of the difference of two gazes beyond what is not measured better: from the camera to a corner of the eye is 0.2
GAZE_WEIGHT, GAZE_NOISE = 0.1, 0.08
# misfit added for shut eyes; openness from which eyes are not shut, and at which they are: grins have 0.15 and more
SHUT_PENALTY, NARROW, SHUT = 0.08, 0.14, 0.07
ENLARGING_PENALTY = 0.01  # misfit added each time that the photo has to be doubled in size
# misfit added each time that a photo that is too small would have to double, if a larger one is there: a face of 64
# pixels gives way to one of 128 that is turned by up to 30 degrees more
SMALL_PENALTY = 0.06


def choose_reference(portrayals: Sequence[ReferencePhoto], landmarks: Points, gaze: float = 0.0) -> ReferencePhoto:
    """Return the photo, or its mirror image, that costs least on the face at `landmarks`, whose gaze is given.

    A photo with glasses is chosen only if all have glasses or if no other is near: a person who has photos without
    glasses does not always wear them. So is a photo with a hand or a cup before the face. A photo that is too small for
    the face at `landmarks` gives way to a larger one.
    """
    largest = max(portrayal.across for portrayal in portrayals)

    def cost(candidate: tuple[ReferencePhoto, bool]) -> float:
        photo, flipped = candidate
        own = mirror(photo.landmarks, photo.image.shape[1]) if flipped else photo.landmarks
        away = abs((-photo.gaze if flipped else photo.gaze) - gaze)
        return (
            _measure_mismatch(own, landmarks)
            + GAZE_WEIGHT * max(0.0, away - GAZE_NOISE)
            + ENLARGING_PENALTY * max(0.0, float(np.log2(face_width(landmarks) / photo.detailed_width)))
            + SMALL_PENALTY * missing_size(photo, landmarks, largest)
            + (GLASSES_PENALTY if photo.glasses else 0.0)
            + HIDDEN_PENALTY * photo.hidden
            + (MIRROR_PENALTY if flipped else 0.0)
        )

    chosen, flipped = min(product(portrayals, (False, True)), key=cost)
    return mirror_image(chosen) if flipped else chosen


def mirror_image(portrayal: ReferencePhoto) -> ReferencePhoto:
    """Return the photo mirrored left to right, with its landmarks; a mesh has to be looked for anew."""
    image = np.ascontiguousarray(portrayal.image[:, ::-1])
    occluder = None if portrayal.occluder is None else np.ascontiguousarray(portrayal.occluder[:, ::-1])
    landmarks = mirror(portrayal.landmarks, image.shape[1])
    return replace(portrayal, image=image, landmarks=landmarks, mesh=None, occluder=occluder, gaze=-portrayal.gaze)


def _measure_mismatch(own: Points, landmarks: Points) -> float:
    """Return what pose, shape and expression cost, from the landmarks of the photo and of the template's face."""
    apart = measure_expression(own) - measure_expression(landmarks)
    shut = max(0.0, _measure_shut(own) - _measure_shut(landmarks))
    stretched = measure_stretch(own, landmarks)
    return (
        measure_misfit(own, landmarks)
        + STRETCH_WEIGHT * stretched
        + float(np.linalg.norm(EXPRESSION_WEIGHTS * apart))
        + SHUT_PENALTY * shut
    )


def measure_stretch(source: Points, target: Points) -> float:
    """Return how far the side of a face that is stretched most is beyond EVEN, logarithm to base 2.

    A side goes from the nose's bridge to the jaw. Args: landmarks of the photo and of the template's face, (68, 2).
    """
    sides = np.log2(np.maximum(_measure_sides(target), 0.02) / np.maximum(_measure_sides(source), 0.02))
    return max(0.0, float(sides.max()) - EVEN)


def _measure_sides(points: Points) -> Points:
    """Return the widths of both sides of a face, left and right of the nose's bridge, as shares of their sum, (2,)."""
    across = points[EYES[1]].mean(axis=0) - points[EYES[0]].mean(axis=0)
    left, nose, right = (float((points[part] @ across).mean()) for part in (slice(1, 5), NOSE_BRIDGE, slice(12, 16)))
    shares: Points = np.array([nose - left, right - nose]) / max(right - left, 1e-6)
    return shares


def _measure_shut(points: Points) -> float:
    """Return how surely the eyes are shut, 0 to 1."""
    return float(np.clip((NARROW - measure_openness(points)) / (NARROW - SHUT), 0, 1))
