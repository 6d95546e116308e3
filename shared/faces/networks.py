"""The three networks of an insightface model folder, told apart by their signature, as onnxruntime sessions.

| network | input | outputs |
|---|---|---|
| detector (SCRFD) | one picture of any or a fixed size | 6 or more: scores, boxes and points at 3 or 5 strides |
| landmarks (3d68) | 192 x 192 | one, 3309 numbers |
| recognizer (ArcFace) | 112 x 112 | one vector |

Other networks of the folder (age, 106 points) are not loaded.
"""

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from shared.faces.base import EngineUnavailable
from shared.faces.onnx_sessions import CPU, CUDA, open_session, wanted_provider
from shared.settings import FaceSettings

HOME = Path("~/.insightface/models")  # where insightface itself keeps model folders
LANDMARK_SIDE, LANDMARK_NUMBERS = 192, 3309
RECOGNIZER_SIDE = 112
DETECTOR_OUTPUTS = (6, 9, 10, 15)
HOW_TO_GET = (
    "download the archive (buffalo_l.zip) from the releases of deepinsight/insightface on GitHub and unpack it into "
    "that folder, or name another folder in PHOTOG_FACES__MODEL; the published weights are for non-commercial "
    "research only"
)


@dataclass(frozen=True, eq=False)
class FaceNetwork:
    """One network, ready to run.

    Attributes:
        batch: how many inputs it takes at once; 0 is any number.
    """

    path: Path
    session: onnxruntime.InferenceSession
    batch: int


@dataclass(frozen=True, eq=False)
class FaceNetworks:
    """The networks of a model folder; `provider` is the one in use by all three."""

    folder: Path
    provider: str
    detector: FaceNetwork
    landmarks: FaceNetwork
    recognizer: FaceNetwork

    @property
    def on_cuda(self) -> bool:
        """Whether they run on an NVIDIA GPU."""
        return self.provider == CUDA


def load_networks(settings: FaceSettings) -> FaceNetworks:
    """Load the three networks. Raises EngineUnavailable, which says what is missing and how to get it."""
    folder = folder_of(settings)
    wanted = wanted_provider(settings)
    loaded: dict[str, FaceNetwork] = {}
    for path in sorted(folder.glob("*.onnx")):
        kind, batch = _signature(path)
        if kind is not None and kind not in loaded:
            loaded[kind] = FaceNetwork(path, open_session(path, settings), batch)
    missing = [kind for kind in ("detector", "landmarks", "recognizer") if kind not in loaded]
    if missing:
        raise EngineUnavailable(
            f"{folder} has no {' and no '.join(missing)} network that insightface knows: {HOW_TO_GET}"
        )
    used = {network.session.get_providers()[0] for network in loaded.values()}
    return FaceNetworks(folder, wanted if used == {wanted} else CPU, **loaded)


def folder_of(settings: FaceSettings) -> Path:
    """Return the model folder, given by path or by name in ~/.insightface/models. Raises EngineUnavailable."""
    for folder in (Path(settings.model).expanduser(), HOME.expanduser() / settings.model):
        if folder.is_dir():
            return folder.resolve()
    raise EngineUnavailable(f"there is no model folder {folder}: {HOW_TO_GET}")


def _signature(path: Path) -> tuple[str | None, int]:
    """Return which of the three networks a file is, None for others, and its batch; no session is opened."""
    try:
        graph = onnx.load_model(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise EngineUnavailable(f"{path} is not an ONNX model: {HOW_TO_GET}") from error
    weights = {weight.name for weight in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    shape = [side.dim_value for side in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    if len(shape) != 4:
        return None, 0
    batch, _, height, width = shape
    if len(graph.output) in DETECTOR_OUTPUTS:
        return "detector", batch
    numbers = graph.output[0].type.tensor_type.shape.dim
    if (height, width) == (LANDMARK_SIDE, LANDMARK_SIDE) and numbers[-1].dim_value == LANDMARK_NUMBERS:
        return "landmarks", batch
    if (height, width) == (RECOGNIZER_SIDE, RECOGNIZER_SIDE) and len(graph.output) == 1:
        return "recognizer", batch
    return None, 0
