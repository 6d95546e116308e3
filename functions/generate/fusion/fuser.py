"""The interface of face fusion and its implementations: by landmarks, or by a network that the settings name."""

from typing import Protocol

from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from shared.faces.base import EngineUnavailable
from shared.imaging.array_types import Image, Mask, Points
from shared.settings import Settings


class Fuser(Protocol):
    """Fuses a face of a picture with a person's face; arguments as in `landmark_fusion.fuse`."""

    def fuse(
        self,
        base: Image,
        landmarks: Points,
        person: ReferencePhoto,
        degree: float,
        free: Mask | None = None,
        frames: Mask | None = None,
        original: FaceCrop | None = None,
        mesh: Points | None = None,
        hair: Mask | None = None,
        rough: bool = False,
    ) -> FaceView:
        """Fuse the face to a degree of 0 (bit-identical) to 1 (most like the person); see `landmark_fusion.fuse`."""


class LandmarkFuser:
    """Implements `Fuser` by warping the person's photo; needs no network."""

    fuse = staticmethod(fuse)


def load_fuser(settings: Settings) -> Fuser:
    """Load the fuser that the settings name.

    Raises:
        EngineUnavailable: it cannot be used; the message says what to set or to install.
    """
    path = settings.generate.fuser
    if path is None:
        return LandmarkFuser()
    if settings.faces.engine != "insightface":
        raise EngineUnavailable(
            f"PHOTOG_GENERATE__FUSER={path} needs the face vectors of insightface, but the face engine is "
            f"{settings.faces.engine}: set PHOTOG_FACES__ENGINE=insightface, or leave PHOTOG_GENERATE__FUSER unset"
        )
    from functions.generate.fusion.onnx_swapper import OnnxFuser

    return OnnxFuser(path, settings.faces)
