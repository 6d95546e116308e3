"""The glasses network: how surely each pixel of an aligned face belongs to the frame of glasses."""

from functools import cache
from pathlib import Path

from functions.generate.face.mask_network import MaskNetwork
from functions.generate.glasses.aligned_face import SIZE
from shared.settings import FaceSettings

WEIGHTS = Path(__file__).parent / "weights" / "glasses.onnx"


class GlassesNetwork(MaskNetwork):
    """The network of `weights/`: from `aligned_face.planes` to the share of frames, SIZE."""

    def __init__(self, running: FaceSettings, path: Path = WEIGHTS) -> None:
        """Load the network; arguments and errors as in `MaskNetwork`."""
        super().__init__(path, SIZE, running)


@cache
def load_network() -> GlassesNetwork:
    """Return the network; one serves the whole process, on the processor: beside any card it takes 4 ms there."""
    return GlassesNetwork(FaceSettings(provider="cpu", intra_threads=1))
