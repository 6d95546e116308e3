"""Size of the face in a person's photo against the size at which it is drawn: whether it is too small."""

import numpy as np

from functions.generate.face.landmarks import face_width
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from shared.imaging.array_types import Points
from shared.photos.assessment import ADVISED_FACE

# a face below ADVISED_FACE that is drawn more than so many times as wide. Looked at on three templates, one good photo
# reduced: eyes and teeth hold with 128 pixels at 2.2 times and 96 at 1.9, look etched with 96 at 2.9, and are wrong
# with 64 at 2.3 and 48 at 3
MOST_ENLARGED = 2.0


def is_too_small(photo: ReferencePhoto, landmarks: Points) -> bool:
    """Return whether the photo's face looks drawn where it takes the place of the face at `landmarks`, (68, 2)."""
    enlarged = face_width(landmarks) / face_width(photo.landmarks)
    return photo.across < ADVISED_FACE and enlarged > MOST_ENLARGED


def missing_size(photo: ReferencePhoto, landmarks: Points, largest: float) -> float:
    """Return how often the face of a photo that is too small would have to double; 0 for one that is large enough.

    Args:
        photo: the photo.
        landmarks: the face whose place it takes, (68, 2).
        largest: width in pixels of the largest face that could be taken instead.
    """
    if not is_too_small(photo, landmarks):
        return 0.0
    return max(0.0, float(np.log2(min(largest, ADVISED_FACE) / photo.across)))


def describe_too_small(photo: ReferencePhoto, name: str, photos: int, width: float) -> str:
    """Return a warning's words for a photo that is too small.

    Args:
        photo: the photo.
        name: whose it is.
        photos: how many this person has.
        width: width in pixels at which the face is drawn.
    """
    which = "the only photo" if photos == 1 else f"the most suitable of the {photos} photos"
    return (
        f"the face in {which} of {name} is {photo.across:.0f} pixels wide and is drawn {width:.0f} pixels wide: the "
        "portrait will look drawn, above all its eyes and teeth, and its similarity says nothing about sharpness; add "
        f"a photo whose face is {ADVISED_FACE} pixels wide or more"
    )
