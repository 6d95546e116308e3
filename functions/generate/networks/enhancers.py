"""The networks that enhance, as far as the settings name any."""

from dataclasses import dataclass

import torch

from functions.generate.networks import image_network
from functions.generate.networks.image_network import ImageNetwork
from functions.generate.networks.person_network import PersonNetwork
from shared.settings import EnhanceSettings, FaceSettings

SHARPENING = "detail raised to the template's, no network"
ENLARGING = "Lanczos and unsharp mask, no network"


@dataclass(frozen=True, eq=False)
class Enhancers:
    """Each None where no file is configured: then the classical way is taken, and the answer says so."""

    face: ImageNetwork | None = None
    upscale: ImageNetwork | None = None
    people: PersonNetwork | None = None

    @classmethod
    def load(cls, settings: EnhanceSettings, device: torch.device, onnx: FaceSettings) -> "Enhancers":
        """Load what is configured; NetworkMissing where that cannot be.

        Args:
            device: of the networks on torch.
            onnx: provider, card and threads of those on onnxruntime.
        """
        return cls(
            face=image_network.load_network(
                settings.face_network, "PHOTOG_ENHANCE__FACE_NETWORK", device, upscaling=False
            ),
            upscale=image_network.load_network(
                settings.upscale_network, "PHOTOG_ENHANCE__UPSCALE_NETWORK", device, upscaling=True
            ),
            people=None if settings.people_network is None else PersonNetwork(settings.people_network, onnx),
        )

    def by(self, method: str) -> str:
        """What a `photo_enhancement_method` is done with, for the answer."""
        if method == "photo_fix":
            return SHARPENING if self.face is None else self.face.name
        return ENLARGING if self.upscale is None else self.upscale.name
