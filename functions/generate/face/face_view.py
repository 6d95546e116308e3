"""A face as a picture shows it."""

from dataclasses import dataclass

from shared.imaging.array_types import Image, Mask, Points


@dataclass(frozen=True, eq=False)
class FaceView:
    """A picture with where the face's landmarks lie, (68, 2) in its pixels, and the frames of its glasses, (H, W)."""

    image: Image
    landmarks: Points
    frames: Mask
