"""Face fusion by a network with the signature of inswapper_128, on onnxruntime.

| name | shape | contents |
|---|---|---|
| target | (1, 3, 128, 128) | the face to change, aligned as for ArcFace, RGB in [0, 1] |
| source | (1, 512) | the person's ArcFace embedding, normalized, times the model's `emap`, normalized again |
| output | (1, 3, 128, 128) | the changed face, aligned and scaled as the target |

`emap` is an initializer of shape (512, 512) in the file; inputs and output are used as in insightface's INSwapper. The
network keeps the template's pose, expression and shape. 128 pixels are few, so its output is matched to the template's
sharpness like every drawn face. The published weights are for non-commercial research only.
"""

from pathlib import Path

import cv2
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from insightface.utils.face_align import arcface_dst
from numpy.typing import NDArray
from onnx import numpy_helper
from skimage.transform import SimilarityTransform

from functions.generate.face import light
from functions.generate.face.crop import FaceCrop
from functions.generate.face.face_view import FaceView
from functions.generate.fusion.blend_weights import BlendWeights
from functions.generate.fusion.drawn_face import DrawnFace, compose
from functions.generate.fusion.landmark_fusion import ReferencePhoto
from functions.generate.glasses.frames import find_frames
from shared.faces.antialiased_warp import warp_antialiased
from shared.faces.base import EngineUnavailable
from shared.faces.five_points import five_points
from shared.faces.insightface import CHIP_SIDE
from shared.faces.onnx_sessions import open_session
from shared.imaging.array_types import Embedding, Image, Mask, Points
from shared.imaging.quantization import round_to_levels
from shared.settings import FaceSettings

SIDE = 128
VECTOR = 512
ASIDE = (SIDE - CHIP_SIDE) / 2  # ArcFace's five points are for 112 pixels; for 128 they are shifted 8 to the right
SIGNATURE = {"target": [1, 3, SIDE, SIDE], "source": [1, VECTOR]}
RIM = 4  # pixels at the border of the output that are not used

Matrix = NDArray[np.float64]
"""(2, 3), affine, from pixels of the patch to pixels of the aligned face."""


class OnnxFuser:
    """Implements `Fuser` by an ONNX network.

    Args:
        path: the .onnx file.
        settings: provider, GPU and threads of onnxruntime.

    Raises:
        EngineUnavailable: the file is missing, is not an ONNX model, or has another signature.
    """

    def __init__(self, path: Path, settings: FaceSettings) -> None:
        if not path.is_file():
            raise EngineUnavailable(
                f"there is no file {path}: set PHOTOG_GENERATE__FUSER to an .onnx file, or leave it unset"
            )
        self._emap = _load_emap(path)
        self._session = open_session(path, settings)

    def fuse(
        self,
        base: Image,
        landmarks: Points,
        person: ReferencePhoto,
        degree: float,
        free: Mask | None = None,
        frames: Mask | None = None,
        original: FaceCrop | None = None,
        mesh: Points | None = None,
        hair: Mask | None = None,
        rough: bool = False,
    ) -> FaceView:
        """Fuse as `landmark_fusion.fuse` does, but leave the landmarks where they are, and facial hair to the network.

        A rough fusion is done as any other.

        Raises:
            ValueError: the person has no identity.
        """
        frames = find_frames(base, landmarks) if frames is None else frames
        image = base.copy()
        crop = FaceCrop.of(base, landmarks, mesh=mesh)
        if degree <= 0 or crop.empty:
            return FaceView(image, landmarks.copy(), frames, mesh, hair)
        if person.identity is None:
            raise ValueError("the reference photo has no identity: a network needs the person's embedding")
        drawn, taken = self._swap(crop.image, crop.points, person.identity)
        fixed = crop.cut(frames)
        if free is not None:
            fixed = np.maximum(1 - crop.cut(free), fixed)
        original = original or crop
        drawn = original.palette.scale_changes(drawn, crop.image)
        shares = BlendWeights.of(min(degree, 1.0))
        small = light.to_lab(crop.working.reduce(drawn))
        face = DrawnFace(small, lambda part: light.to_lab(drawn[part]), crop.working.reduce(taken))
        image[crop.rows, crop.columns] = compose(crop, face, original, shares, fixed)
        return FaceView(image, landmarks.copy(), frames, mesh, hair)

    def _swap(self, patch: Image, points: Points, identity: Embedding) -> tuple[Image, Mask]:
        """Return the patch with the face changed by the network, and the mask of the area that the network covers."""
        matrix = _fit_alignment(points)
        changed = self._run(warp_antialiased(patch, matrix, SIDE), identity)
        size = patch.shape[1::-1]
        back = cv2.warpAffine(
            changed, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        inner = np.zeros((SIDE, SIDE), np.float32)
        inner[RIM:-RIM, RIM:-RIM] = 1
        inner = cv2.GaussianBlur(inner, (0, 0), RIM / 2)
        seen: Mask = cv2.warpAffine(inner, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return back, seen

    def _run(self, aligned: Image, identity: Embedding) -> Image:
        latent = (identity / np.linalg.norm(identity)) @ self._emap
        source = (latent / np.linalg.norm(latent)).astype(np.float32)[None]
        target = (aligned.astype(np.float32) / 255).transpose(2, 0, 1)[None]
        (output,) = self._session.run(None, {"target": target, "source": source})
        return round_to_levels(output[0].transpose(1, 2, 0) * 255)


def _fit_alignment(points: Points) -> Matrix:
    fit = SimilarityTransform.from_estimate(five_points(points), arcface_dst + np.array([ASIDE, 0.0]))
    if not fit:
        raise ValueError("all landmarks of this face are at the same place")
    matrix: Matrix = fit.params[:2]
    return matrix


def _load_emap(path: Path) -> Embedding:
    """Check the model's signature and return its emap.

    Raises:
        EngineUnavailable: the file is not an ONNX model, or has another signature.
    """
    try:
        graph = onnx.load_model(str(path)).graph
    except DecodeError as error:
        raise EngineUnavailable(f"{path} is not an ONNX model") from error
    weights = {weight.name for weight in graph.initializer}
    shapes = {
        one.name: [side.dim_value or 1 for side in one.type.tensor_type.shape.dim]
        for one in graph.input
        if one.name not in weights
    }
    maps = [weight for weight in graph.initializer if list(weight.dims) == [VECTOR, VECTOR]]
    if shapes != SIGNATURE or len(graph.output) != 1 or not maps:
        raise EngineUnavailable(
            f"{path} has the inputs {shapes}, {len(graph.output)} outputs and {len(maps)} initializers of "
            f"{VECTOR} x {VECTOR}; a fuser has the inputs {SIGNATURE}, one output and at least one such initializer"
        )
    # insightface takes the file's last initializer, whatever its name
    emap: Embedding = numpy_helper.to_array(maps[-1]).astype(float)
    return emap
