"""A face in a picture, with its landmarks and the frames of its glasses."""

from dataclasses import dataclass

from shared.imaging.array_types import Image, Mask, Points


@dataclass(frozen=True, eq=False)
class FaceView:
    """A face in a picture.

    Attributes:
        image: the picture, RGB, uint8, (H, W, 3).
        landmarks: (68, 2), in pixels of the picture.
        frames: mask of the frames of the face's glasses, (H, W).
        mesh: the points of its face mesh, (478, 3), in pixels of the picture; None if the engine gives none.
        hair: mask of the template's facial hair, (H, W), wherever a fusion has moved it; None if nobody has looked.
    """

    image: Image
    landmarks: Points
    frames: Mask
    mesh: Points | None = None
    hair: Mask | None = None
