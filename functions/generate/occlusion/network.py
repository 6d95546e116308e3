"""The occluder network: how surely each pixel of an aligned face belongs to something that lies before the face."""

from pathlib import Path

import numpy as np

from functions.generate.occlusion.aligned_face import SIDE, Planes
from shared.devices import device_errors
from shared.faces.onnx_sessions import open_session
from shared.imaging.array_types import Mask
from shared.imaging.quantization import require_finite
from shared.settings import FaceSettings

WEIGHTS = Path(__file__).parent / "weights" / "occluders.onnx"


class OccluderNetwork:
    """The network of `weights/`, on onnxruntime."""

    def __init__(self, running: FaceSettings, path: Path = WEIGHTS) -> None:
        """Load the network.

        Args:
            running: provider, card and threads, the same as for the face engine.
            path: the .onnx file.

        Raises:
            EngineUnavailable: it cannot be loaded.
        """
        self._session = open_session(path, running)

    def __call__(self, planes: Planes) -> Mask:
        """Return the share of objects in each pixel of the canvas, 0 to 1, (SIDE, SIDE).

        Args:
            planes: from `aligned_face.planes`.

        Raises:
            PictureFailed: the output has values that are not finite.
        """
        with device_errors():
            (made,) = self._session.run(None, {"planes": planes[None]})
        share: Mask = require_finite(np.asarray(made, np.float32).reshape(SIDE, SIDE))
        return share
