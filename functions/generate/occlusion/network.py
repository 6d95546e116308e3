"""The occluder network: how surely each pixel of an aligned face belongs to something that lies before the face."""

from pathlib import Path

from functions.generate.face.mask_network import MaskNetwork
from functions.generate.occlusion.aligned_face import SIDE
from shared.settings import FaceSettings

WEIGHTS = Path(__file__).parent / "weights" / "occluders.onnx"


class OccluderNetwork(MaskNetwork):
    """The network of `weights/`: from `aligned_face.planes` to the share of objects, (SIDE, SIDE)."""

    def __init__(self, running: FaceSettings, path: Path = WEIGHTS) -> None:
        """Load the network; `running` is the same as for the face engine. Errors as in `MaskNetwork`."""
        super().__init__(path, (SIDE, SIDE), running)
