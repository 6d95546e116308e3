"""Segmentation of people by a network: an ONNX file with the signature of u2net_human_seg."""

from pathlib import Path

import cv2
import numpy as np

from functions.generate.networks.image_network import NetworkMissing
from shared.errors import how_to_install
from shared.faces.base import EngineUnavailable
from shared.imaging.array_types import Image, Mask
from shared.imaging.quantization import require_finite
from shared.settings import FaceSettings

SETTING = "PHOTOG_ENHANCE__PEOPLE_NETWORK"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, with which U2-Net was trained
SIDE = 320  # of the input, if the file does not fix it


class PersonNetwork:
    """A network whose first output is how surely each pixel belongs to a person, (1, 1, side, side)."""

    def __init__(self, path: Path, running: FaceSettings) -> None:
        """Load the network.

        Args:
            path: the .onnx file.
            running: provider, GPU and threads, the same as for the face engine.

        Raises:
            NetworkMissing: onnxruntime or the file is missing, or the file is not such a network.
        """
        try:
            from shared.faces.onnx_sessions import open_session
        except ImportError as error:
            raise NetworkMissing(f"{SETTING} needs onnxruntime: {how_to_install('enhance')}") from error
        file = path.expanduser()
        try:
            self._session = open_session(file, running)
        except EngineUnavailable as error:
            raise NetworkMissing(f"{SETTING}: {error}") from error
        (taken, *others) = self._session.get_inputs()
        if others or len(taken.shape) != 4 or taken.shape[1] != 3:
            raise NetworkMissing(f"{SETTING}: {file} does not take one RGB picture as u2net_human_seg does")
        self._input = taken.name
        self._side = taken.shape[2] if isinstance(taken.shape[2], int) else SIDE

    def __call__(self, image: Image) -> Mask:
        """Return how surely each pixel belongs to a person, 0 to 1, (side, side).

        Args:
            image: the whole picture, RGB, uint8, (H, W, 3); it is resized to (side, side).

        Raises:
            PictureFailed: the output has values that are not finite.
        """
        small = cv2.resize(image, (self._side, self._side), interpolation=cv2.INTER_AREA).astype(np.float32)
        scaled = (small / max(float(small.max()), 1.0) - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        (made, *_) = self._session.run(None, {self._input: scaled.transpose(2, 0, 1)[None]})
        found = require_finite(np.asarray(made, np.float32).reshape(self._side, self._side))
        lowest, highest = float(found.min()), float(found.max())
        share: Mask = (found - lowest) / max(highest - lowest, 1e-6)
        return share
