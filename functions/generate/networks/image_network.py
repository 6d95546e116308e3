"""Restoration and upscaling networks that spandrel recognizes by their weights: GFPGAN, RestoreFormer, Real-ESRGAN etc.

photog ships none of them: a setting names the file, and whoever sets it is responsible for its license (GFPGAN and
RestoreFormer are Apache-2.0, Real-ESRGAN is BSD-3; CodeFormer is non-commercial and not supported by spandrel).
spandrel imports torchvision, so the two are a separate extra, imported only if a file is configured.
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

# called directly: it was trained on [-1, 1], but spandrel 0.4 passes [0, 1], and lets it add random noise, with which
# no portrait could be made again
GFPGAN = "GFPGAN"

# errors that loading a file which is not a network, or not complete, can raise
UNREADABLE = (ValueError, RuntimeError, KeyError, EOFError, OSError, UnpicklingError, SafetensorError)


class NetworkMissing(ConfigurationError):
    """Raised when a configured network cannot be loaded; the message names the setting and says what to do."""


class ImageNetwork:
    """A network that takes a picture and returns a picture.

    Attributes:
        name: its architecture and file name, for answers.
        scale: size of its output divided by the size of its input.
    """

    def __init__(self, name: str, descriptor: Any, device: torch.device) -> None:
        self.name, self.scale = name, int(descriptor.scale)
        self._descriptor, self._device = descriptor, device

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """Run the network on an RGB picture, uint8, (H, W, 3).

        Returns:
            RGB, float32, 0 to 255, (scale * H, scale * W, 3).

        Raises:
            PictureFailed: the output has values that are not finite.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            made = self._run(pixels.to(self._device))[0]
        result: NDArray[np.float32] = np.clip(require_finite(made.float().permute(1, 2, 0).cpu().numpy()), 0, 1) * 255
        return result

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._descriptor.architecture.id == GFPGAN:
            signed: torch.Tensor = self._descriptor.model(2 * pixels - 1, randomize_noise=False)[0]
            return (signed + 1) / 2
        made: torch.Tensor = self._descriptor(pixels)
        return made


def load_network(path: Path | None, setting: str, device: torch.device, upscaling: bool) -> ImageNetwork | None:
    """Load a network from a file; return None if no file is configured.

    Args:
        path: a .pth or .safetensors file.
        setting: name of the setting that has the path, for error messages.
        device: the device to run on.
        upscaling: whether the network must enlarge pictures; else it must keep their size.

    Raises:
        NetworkMissing: spandrel or the file is missing, or the file is not such a network.
    """
    if path is None:
        return None
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:  # torchvision built for another torch raises RuntimeError
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
        raise NetworkMissing(f"{setting}: {file} is not a network that spandrel supports: {error}") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or (
        descriptor.input_channels,
        descriptor.output_channels,
    ) != (3, 3):
        raise NetworkMissing(f"{setting}: {file} is not a network from RGB to RGB")
    if (descriptor.scale >= 2) != upscaling:
        wanted = "2 or more" if upscaling else "1"
        raise NetworkMissing(f"{setting}: {file} has scale {descriptor.scale}, but needs scale {wanted}")
    return ImageNetwork(f"{descriptor.architecture.name} {file.name}", descriptor.eval(), device)
