"""The glasses network: how surely each pixel of an aligned face belongs to the frame of glasses."""

from functools import cache
from pathlib import Path

import numpy as np

from functions.generate.glasses.aligned_face import SIZE, Planes
from shared.faces.onnx_sessions import open_session
from shared.imaging.array_types import Mask
from shared.imaging.quantization import require_finite
from shared.settings import FaceSettings

WEIGHTS = Path(__file__).parent / "weights" / "glasses.onnx"


class GlassesNetwork:
    """The network of `weights/`, on onnxruntime."""

    def __init__(self, running: FaceSettings, path: Path = WEIGHTS) -> None:
        """Load the network.

        Args:
            running: provider, card and threads.
            path: the .onnx file.

        Raises:
            EngineUnavailable: it cannot be loaded.
        """
        self._session = open_session(path, running)

    def __call__(self, planes: Planes) -> Mask:
        """Return the share of frames in each pixel of the canvas, 0 to 1, SIZE.

        Args:
            planes: from `aligned_face.planes`.

        Raises:
            PictureFailed: the output has values that are not finite.
        """
        (made,) = self._session.run(None, {"planes": planes[None]})
        share: Mask = require_finite(np.asarray(made, np.float32).reshape(SIZE))
        return share


@cache
def load_network() -> GlassesNetwork:
    """Return the network; one serves the whole process, on the processor: beside any card it takes 4 ms there."""
    return GlassesNetwork(FaceSettings(provider="cpu", intra_threads=1))
