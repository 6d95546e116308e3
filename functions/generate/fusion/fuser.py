"""What fuses faces, as the stages know it: by landmarks, or by a network that the settings name."""

from typing import Protocol

from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.fusion.landmark_fusion import ReferencePhoto, fuse
from shared.faces.base import EngineUnavailable
from shared.imaging.array_types import Image, Mask, Points
from shared.settings import Settings


class Fuser(Protocol):
    """Gives a face of a picture a person's looks; the arguments are those of `fusion.fuse`."""

    def fuse(
        self,
        base: Image,
        landmarks: Points,
        person: ReferencePhoto,
        degree: float,
        free: Mask | None = None,
        frames: Mask | None = None,
        original: FaceCrop | None = None,
    ) -> FaceView:
        """The picture with the face fused by `degree`: at 0 bit for bit as it was, at 1 the most; see `fusion.fuse`."""


class LandmarkFuser:
    """Implements Fuser by bending the person's photo; needs no network."""

    fuse = staticmethod(fuse)


def load_fuser(settings: Settings) -> Fuser:
    """The fuser that the settings name, loaded once per process; EngineUnavailable says what to set or to get."""
    path = settings.generate.fuser
    if path is None:
        return LandmarkFuser()
    if settings.faces.engine != "insightface":
        raise EngineUnavailable(
            f"PHOTOG_GENERATE__FUSER={path} is told a person by insightface's vector, but the face engine is "
            f"{settings.faces.engine}: set PHOTOG_FACES__ENGINE=insightface, or leave the fuser out"
        )
    from functions.generate.fusion.onnx_swapper import OnnxFuser

    return OnnxFuser(path, settings.faces)
