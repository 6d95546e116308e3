"""The optional networks that enhance a portrait, as far as the settings name them."""

from dataclasses import dataclass

import torch

from functions.generate.networks import image_network
from functions.generate.networks.image_network import ImageNetwork
from functions.generate.networks.person_network import PersonNetwork
from shared.settings import EnhanceSettings, FaceSettings

# names in the answer of what is used without a network
SHARPENING = "detail raised to the template's, no network"
ENLARGING = "Lanczos and unsharp mask, no network"


@dataclass(frozen=True, eq=False)
class Enhancers:
    """The enhancing networks; each is None if no file is configured.

    Without a network the stage uses classical image processing, and the answer says so.

    Attributes:
        face: restores faces, for photo_fix.
        upscale: enlarges pictures, for super_resolution.
        people: segments people, for background_restore.
    """

    face: ImageNetwork | None = None
    upscale: ImageNetwork | None = None
    people: PersonNetwork | None = None

    @classmethod
    def load(cls, settings: EnhanceSettings, device: torch.device, onnx: FaceSettings) -> "Enhancers":
        """Load the networks that are configured.

        Args:
            settings: the files of the networks.
            device: the device of the networks that run on torch.
            onnx: provider, GPU and threads of the networks that run on onnxruntime.

        Raises:
            NetworkMissing: a configured network cannot be loaded.
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
        """Return the name of what does a `photo_enhancement_method`, for the answer."""
        if method == "photo_fix":
            return SHARPENING if self.face is None else self.face.name
        return ENLARGING if self.upscale is None else self.upscale.name
