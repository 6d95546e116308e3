"""A small network that draws a mask on an aligned face; the networks of glasses and of occluders are such."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.devices import device_errors
from shared.faces.onnx_sessions import open_session
from shared.imaging.array_types import Mask
from shared.imaging.quantization import require_finite
from shared.settings import FaceSettings


class MaskNetwork:
    """A network on onnxruntime whose input is called `planes`, (1, channels, *size), and whose output is one mask."""

    def __init__(self, path: Path, size: tuple[int, int], running: FaceSettings) -> None:
        """Load the network.

        Args:
            path: the .onnx file.
            size: height and width of its canvas in pixels.
            running: provider, card and threads.

        Raises:
            EngineUnavailable: it cannot be loaded.
        """
        self._session, self._size = open_session(path, running), size

    def __call__(self, planes: NDArray[np.float32]) -> Mask:
        """Return the share of what it looks for in each pixel of the canvas, 0 to 1, size.

        Args:
            planes: the aligned face, (channels, *size), each about -1 to 1.

        Raises:
            PictureFailed: the output has values that are not finite.
        """
        with device_errors():
            (made,) = self._session.run(None, {"planes": planes[None]})
        share: Mask = require_finite(np.asarray(made, np.float32).reshape(self._size))
        return share
