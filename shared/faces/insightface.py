"""The insightface engine: the networks of an insightface model folder on onnxruntime, CPU or CUDA.

Only three networks of the folder are used: SCRFD detects faces, 3d68 finds their landmarks, ArcFace embeds them as 512
numbers (Deng et al. 2019). insightface's own classes prepare the inputs and read the outputs; the sessions are made
here, with the provider and threads of the settings. The published weights (buffalo_l, antelopev2 and the
like) are for non-commercial research only.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from insightface.app.common import Face as Detection
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.landmark import Landmark
from insightface.model_zoo.scrfd import SCRFD
from insightface.utils.face_align import arcface_dst
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from skimage.transform import SimilarityTransform

from shared.devices import device_errors
from shared.faces.base import Box, Chip, Face, FaceError
from shared.faces.face_crop import crop_face
from shared.faces.five_points import five_points
from shared.faces.networks import FaceNetworks, load_networks
from shared.faces.rotation import measure_eye_tilt
from shared.faces.settling import settle
from shared.imaging.array_types import Embedding, Image, Points
from shared.settings import FaceSettings

SEARCHED = [(128, 128), (640, 640)]  # insightface's own: faces from 5 % of the side, and those that fill the picture
FOUND = 0.5  # confidence, insightface's default
THINNEST = 8  # pixels: a thinner picture, once reduced, shows no face, and the network fails on it
CLOSEUP_FACE, CLOSEUP_SIDE = 256, 512  # pixels: twice the networks' inputs, since they reduce without a filter
SAME_PERSON = 0.55  # cosine distance; deepface's for buffalo_l, users' similarities of 0.45 to 0.5 are 0.5 to 0.55
UNSUITABLE = (InvalidArgument, cv2.error)  # raised for an unsuitable input; any other error is the device's
OF_THE_PICTURE = (MemoryError, cv2.error)  # the picture is too large for the machine; `photos.assessment` reports it
CHIP_SIDE = 112  # pixels; ArcFace's input


class InsightfaceEngine:
    """Faces by insightface's networks; see the module.

    Attributes:
        name: includes the model folder's, since embeddings of two recognizers cannot be compared.
        provider: the provider of onnxruntime that is in use.

    Raises EngineUnavailable if the folder, a network or the configured provider is missing.
    """

    same_person = SAME_PERSON

    def __init__(self, settings: FaceSettings) -> None:
        loaded = load_networks(settings)
        self.name = f"insightface/{loaded.folder.name}"
        self.provider = loaded.provider
        self._detector = SCRFD(str(loaded.detector.path), loaded.detector.session, static_shape_sessions=False)
        self._detector.prepare(0, input_size=SEARCHED, det_thresh=FOUND)
        self._landmarks = Landmark(str(loaded.landmarks.path), loaded.landmarks.session)
        self._recognizer = ArcFaceONNX(str(loaded.recognizer.path), loaded.recognizer.session)
        self._batch = loaded.recognizer.batch
        self._warm(loaded)

    def detect(self, image: Image) -> list[Face]:
        """Return all faces from left to right; the search runs on a bounded size, the landmarks on the full picture.

        Raises FaceError for an unsuitable picture; DeviceError, OutOfMemory or DeviceBroken if the device fails.
        """
        try:
            with device_errors(but=OF_THE_PICTURE):
                found = [self._face(image, *seen) for seen in self._search(image)]
        except UNSUITABLE as error:
            if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
                raise
            raise FaceError(f"insightface could not search this picture: {error}") from error
        return sorted(found, key=lambda face: face.box.center[0])

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return 512 numbers of unit length."""
        (vector,) = self.embed_all([self.chip(image, face)])
        if isinstance(vector, FaceError):
            raise vector
        return vector

    def chip(self, image: Image, face: Face) -> Chip:
        """Return the face aligned by eyes, nose and mouth for the recognizer: RGB, uint8, (112, 112, 3)."""
        view = crop_face(image, face.box, CLOSEUP_FACE, CLOSEUP_SIDE)
        fit = SimilarityTransform.from_estimate(five_points(view.inwards(face.landmarks)), arcface_dst)
        if not fit:
            raise FaceError("the landmarks of this face cannot be aligned: they lie in one place")
        return cv2.warpAffine(view.image, fit.params[:2], (CHIP_SIDE, CHIP_SIDE))

    def embed_all(self, chips: Sequence[Chip]) -> list[Embedding | FaceError]:
        """Embed each chip, in batches as large as the network takes; a FaceError stands for a chip without embedding.

        Raises DeviceError, OutOfMemory or DeviceBroken if the device fails.
        """
        vectors: list[Embedding | FaceError] = []
        step = self._batch or max(len(chips), 1)
        for start in range(0, len(chips), step):
            vectors += self._embed_chips(list(chips[start : start + step]))
        return vectors

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Return the cosine distance; see SAME_PERSON."""
        return float(1 - a @ b)

    def _search(self, image: Image) -> list[tuple[Box, float, float]]:
        """Return boxes, their scores, and the roll in degrees by the detector's own eyes."""
        factor = min(max(max(size) for size in SEARCHED) / max(image.shape[:2]), 1.0)
        size = max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1)
        if min(size) < THINNEST:
            return []
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # the library's own reduction has no filter
        boxes, points = self._detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        tilts = np.zeros(len(boxes)) if points is None else [measure_eye_tilt(*five[:2]) for five in points]
        return [
            (Box(*map(float, box[:4])).scaled(1 / factor), float(box[4]), float(tilt))
            for box, tilt in zip(boxes, tilts, strict=True)
        ]

    def _face(self, image: Image, box: Box, score: float, tilt: float) -> Face:
        view = crop_face(image, box, CLOSEUP_FACE, CLOSEUP_SIDE)
        found = settle(self._look, view.image, view.box_inwards(box), tilt)
        return Face(box, view.outwards(found.points), score)

    def _look(self, image: Image, place: Box) -> Points:
        detection = Detection(bbox=np.array([place.left, place.top, place.right, place.bottom]))
        points = self._landmarks.get(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), detection)
        return points[:, :2].astype(float)

    def _embed_chips(self, chips: list[Chip]) -> list[Embedding | FaceError]:
        try:
            with device_errors(but=OF_THE_PICTURE):
                features = self._recognizer.get_feat([cv2.cvtColor(chip, cv2.COLOR_RGB2BGR) for chip in chips])
        except UNSUITABLE as error:
            if len(chips) > 1:  # one by one, to find out which of them it is
                return [vector for chip in chips for vector in self._embed_chips([chip])]
            return [FaceError(f"insightface could not embed this face: {error}")]
        return [_unit(vector) for vector in features.astype(float)]

    def _warm(self, loaded: FaceNetworks) -> None:
        """Run all networks once: on CUDA the first run takes seconds to choose kernels."""
        if loaded.on_cuda:
            blank = np.zeros((CLOSEUP_SIDE, CLOSEUP_SIDE, 3), np.uint8)
            self.detect(blank)
            self._face(blank, Box(128, 128, 384, 384), 0.0, 0.0)
            self._embed_chips([blank[:CHIP_SIDE, :CHIP_SIDE]])


def _unit(vector: NDArray[np.float64]) -> Embedding | FaceError:
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        return FaceError("insightface gave no usable vector for this face")
    return vector / length
