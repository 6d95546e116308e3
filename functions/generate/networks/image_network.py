"""Restoration and upscaling networks that spandrel knows by their weights: GFPGAN, RestoreFormer, Real-ESRGAN and kin.

photog brings none: a settings' path names the file, and its license is between its makers and whoever sets it (GFPGAN
and RestoreFormer Apache-2.0, Real-ESRGAN BSD-3; CodeFormer is non-commercial and not among spandrel's). spandrel
imports torchvision, so that both are an extra of their own, imported only where a file is configured.
"""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from shared.devices import device_errors
from shared.errors import ConfigurationError, how_to_install
from shared.imaging.array_types import Image
from shared.imaging.quantization import require_finite

# trained on -1 to 1, while spandrel 0.4 hands it 0 to 1 and lets it draw noise, with which no portrait came again
GFPGAN = "GFPGAN"

# what files that are none, or not whole, end in
UNREADABLE = (ValueError, RuntimeError, KeyError, EOFError, OSError, UnpicklingError, SafetensorError)


class NetworkMissing(ConfigurationError):
    """A configured network cannot be loaded; the message says which setting and what to do."""


class ImageNetwork:
    """A network from picture to picture.

    Attributes:
        name: of its architecture and file, for answers.
        scale: how much larger its output is.
    """

    def __init__(self, name: str, descriptor: Any, device: torch.device) -> None:
        self.name, self.scale = name, int(descriptor.scale)
        self._descriptor, self._device = descriptor, device

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """What it makes of an RGB picture (H, W, 3): float32, 0 to 255, (scale H, scale W, 3)."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            made = self._made(pixels.to(self._device))[0]
        result: NDArray[np.float32] = np.clip(require_finite(made.float().permute(1, 2, 0).cpu().numpy()), 0, 1) * 255
        return result

    def _made(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._descriptor.architecture.id == GFPGAN:
            signed: torch.Tensor = self._descriptor.model(2 * pixels - 1, randomize_noise=False)[0]
            return (signed + 1) / 2
        made: torch.Tensor = self._descriptor(pixels)
        return made


def load_network(path: Path | None, setting: str, device: torch.device, upscaling: bool) -> ImageNetwork | None:
    """The network of a file, or None where none is configured.

    Args:
        path: .pth or .safetensors.
        setting: that names the file, for errors.
        device: to run on.
        upscaling: whether a network is wanted whose output is larger than its input.

    Raises NetworkMissing.
    """
    if path is None:
        return None
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:  # torchvision for another torch raises the second
        raise NetworkMissing(
            f"{setting} needs spandrel and a torchvision made for this torch: {how_to_install('enhance')}; {error}"
        ) from error
    file = path.expanduser()
    if not file.is_file():
        raise NetworkMissing(f"{setting}: there is no file {file}")
    try:
        with device_errors():
            descriptor = spandrel.ModelLoader(device=device).load_from_file(file)
    except (spandrel.UnsupportedModelError, *UNREADABLE) as error:
        raise NetworkMissing(f"{setting}: {file} is no network that spandrel knows: {error}") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or (
        descriptor.input_channels,
        descriptor.output_channels,
    ) != (3, 3):
        raise NetworkMissing(f"{setting}: {file} is no network from RGB to RGB")
    if (descriptor.scale >= 2) != upscaling:
        wanted = "of scale 2 or more" if upscaling else "that keeps the size"
        raise NetworkMissing(f"{setting}: {file} has scale {descriptor.scale}, wanted is one {wanted}")
    return ImageNetwork(f"{descriptor.architecture.name} {file.name}", descriptor.eval(), device)
