"""Judges whether a photo of a person can be used and how good it is, for check's answers and for train's selection.

| code | message | meaning |
|---|---|---|
| 1 | success | one whole face, for which the engine gave an embedding |
| 2 | Image decode error | the photo could not be fetched or decoded |
| 3 | Number of face is not 1 | no face, several faces, or one face that the border cuts off |
| 4 | Image detect error | the engine failed while it looked for faces |
| 5 | Image encoding error | the engine gave no embedding for the face |
| 6 | This photo is not the same person in photos | not the person whom most photos show; from `same_person` only |

A photo's `warnings` say why it got its code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from shared.errors import PhotoError
from shared.faces import Face, FaceEngine, FaceError, photo_quality, pose
from shared.faces.base import Box, largest, similarity
from shared.faces.batched_embedding import BatchedEmbedding
from shared.faces.lying import advise_turn, name_lying_faces
from shared.imaging.array_types import Embedding, Image
from shared.photos import decode_photo
from shared.photos.identity_clustering import Distances, Majority, distances_to_others, find_first_photos, find_majority
from shared.settings import Limits

USABLE, UNDECODABLE, NOT_ONE_FACE, UNDETECTED, UNENCODED, STRANGER = 1, 2, 3, 4, 5, 6
MESSAGES = {
    USABLE: "success",
    UNDECODABLE: "Image decode error",
    NOT_ONE_FACE: "Number of face is not 1",
    UNDETECTED: "Image detect error",
    UNENCODED: "Image encoding error",
    STRANGER: "This photo is not the same person in photos",
}

FRONTAL_YAW = FRONTAL_PITCH = FRONTAL_ROLL = 20.0  # degrees; hobby checks use 20/15/10, ICAO passports 5/5/8
WHOLE = 0.98  # share of landmarks in the picture: all but one; a face cut through the cheek has 0.91 to 0.93
BLURRED = 0.02  # sharpness of a good photo after a Gaussian blur of 1 % of the face's width
SHARP = 0.2  # sharpness above which a higher value means texture and noise rather than better focus
ADVISED_SIDE = 512  # pixels; the product page's advice for training photos
ADVISED_FACE = 128  # pixels; the embedded base model works on smaller faces enlarged
DIM, GLARING = 0.2, 0.85  # range of a face's mean luma outside which detail is lost
NO_MEMORY = "the picture needs more memory than there is: send it smaller"
BLOWN = 0.1  # share of a face's pixels without detail from which the sender is warned


@dataclass(frozen=True, eq=False)
class PhotoAssessment:
    """The verdict on one photo, and its measurements; contains no pixels.

    Attributes:
        code, message: see the table above.
        warnings: reasons and advice for the sender.
        width, height: of the upright picture in pixels; 0 if it was not decoded.
        face: the only face, in pixel coordinates of the upright picture; None with codes 2 to 4.
        embedding: the engine's face vector; present with codes 1 and 6.
        sharpness: of the face, see `faces.photo_quality`; a face below 0.02 is blurred.
        brightness: mean luma of the face in [0, 1].
        yaw, pitch, roll: in degrees, see `faces.pose`.
        frontal: whether all three angles are within 20 degrees.
        quality: overall score in [0, 1], comparable between photos; 0 unless the photo is usable.
        similarity: mean similarity to the other photos of the person in [0, 1]; None if it was not compared.
        retry_after: seconds after which it may be fetched, since its server failed for the moment; None otherwise.
        found: every face that was found, those that do not count too, from left to right.
    """

    code: int
    warnings: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    face: Face | None = None
    embedding: Embedding | None = None
    sharpness: float = 0.0
    brightness: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    frontal: bool = False
    quality: float = 0.0
    similarity: float | None = None
    retry_after: int | None = None
    found: list[Box] = field(default_factory=list)

    @classmethod
    def of_error(cls, error: PhotoError) -> "PhotoAssessment":
        """Return the verdict on a photo that could not be fetched or decoded."""
        return cls(UNDECODABLE, [error.message], retry_after=error.retry_after)

    @property
    def message(self) -> str:
        """The contract's message for the code."""
        return MESSAGES[self.code]

    @property
    def usable(self) -> bool:
        """Whether the photo can be used: its code is 1."""
        return self.code == USABLE


def inspect_photo(
    data: bytes | PhotoError, engine: FaceEngine, limits: Limits, ignored_face: float = 0.0
) -> PhotoAssessment:
    """Judge one photo by itself; a faulty photo gives a verdict and never an exception.

    Args:
        data: the file's bytes, or why they could not be fetched.
        engine: finds and embeds faces.
        limits: limits of bytes and pixels.
        ignored_face: see `count_usable`.
    """
    if isinstance(data, PhotoError):
        return PhotoAssessment.of_error(data)
    try:
        decoded = decode_photo(data, limits)
    except PhotoError as error:
        return PhotoAssessment.of_error(error)
    return judge_photo(decoded.image, engine, decoded.warnings, ignored_face)


def retry_after_all(verdicts: Sequence[PhotoAssessment]) -> int | None:
    """Return the seconds after which photos whose servers failed may all be fetched; None if none of them failed."""
    return max((one.retry_after for one in verdicts if one.retry_after is not None), default=None)


def judge_photo(image: Image, engine: FaceEngine, warnings: list[str], ignored_face: float = 0.0) -> PhotoAssessment:
    """Judge a decoded photo.

    A photo that is too large for the available memory gets the code of one that could not be decoded.

    Args:
        image: RGB, uint8, (H, W, 3), upright.
        engine: finds and embeds faces.
        warnings: the warnings that there are already, from decoding.
        ignored_face: the setting of that name, see `count_usable`.
    """
    try:
        return _judge_face(image, engine, warnings, ignored_face)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        height, width = image.shape[:2]
        return PhotoAssessment(UNDECODABLE, [*warnings, NO_MEMORY], width, height)


def _judge_face(image: Image, engine: FaceEngine, warnings: list[str], ignored_face: float) -> PhotoAssessment:
    try:
        faces = engine.detect(image)
    except FaceError as error:
        height, width = image.shape[:2]
        return PhotoAssessment(UNDETECTED, [*warnings, str(error)], width, height)
    return replace(_judge_faces(image, faces, engine, warnings, ignored_face), found=[face.box for face in faces])


def _judge_faces(
    image: Image, faces: list[Face], engine: FaceEngine, warnings: list[str], ignored_face: float
) -> PhotoAssessment:
    height, width = image.shape[:2]
    faces, beside = count_usable(faces, ignored_face)
    if beside:
        warnings = [*warnings, f"{beside} much smaller faces far from the main one were ignored"]
    if len(faces) != 1:
        found = f"{len(faces)} faces were found" if faces else _no_face(image, engine)
        return PhotoAssessment(NOT_ONE_FACE, [*warnings, *_side(faces), found], width, height)
    face = faces[0]
    if photo_quality.measure_visible_share(face, width, height) < WHOLE:
        return PhotoAssessment(NOT_ONE_FACE, [*warnings, "the face is cut off by the border"], width, height)
    try:
        embedding = engine.embed(image, face)
    except FaceError as error:
        return PhotoAssessment(UNENCODED, [*warnings, str(error)], width, height, face)
    return _assess(image, face, embedding, warnings)


def count_usable(faces: list[Face], ignored: float) -> tuple[list[Face], int]:
    """Return the faces that count, and the number of faces that do not.

    A face does not count if its longer side is at most `ignored` times that of the largest face and its center is
    further from the largest face's center than the largest face is wide. With `ignored` 0, the product page's rule,
    every face counts.
    """
    if not faces or not ignored:
        return faces, 0
    main = largest(faces)
    most = ignored * max(main.box.width, main.box.height)
    kept = [
        face
        for face in faces
        if max(face.box.width, face.box.height) > most or math.dist(face.box.center, main.box.center) <= main.box.width
    ]
    return kept, len(faces) - len(kept)


def embed_later(verdicts: Sequence[PhotoAssessment], engine: BatchedEmbedding) -> list[PhotoAssessment]:
    """Replace the placeholders of a `BatchedEmbedding` by embeddings; a face that cannot be embedded gets code 5."""
    waiting = [index for index, verdict in enumerate(verdicts) if verdict.embedding is not None]
    placeholders = [verdict.embedding for verdict in verdicts if verdict.embedding is not None]
    answer = list(verdicts)
    for index, vector in zip(waiting, engine.embed_collected(placeholders), strict=True):
        one = verdicts[index]
        if isinstance(vector, FaceError):
            warnings = [*one.warnings, str(vector)]
            answer[index] = PhotoAssessment(UNENCODED, warnings, one.width, one.height, one.face, found=one.found)
        else:
            answer[index] = replace(one, embedding=vector)
    return answer


def same_person(verdicts: Sequence[PhotoAssessment], engine: FaceEngine) -> list[PhotoAssessment]:
    """Give code 6 to usable photos that do not show the person whom most photos show, and a similarity to all compared.

    `identity_clustering.py` describes how that person is determined. In a tie it is undecided who is meant: every
    usable photo gets code 6, no similarity, and a warning that says so. A photo that was sent twice has one vote, and
    its copies get the verdict of the first. A single usable photo is compared with nothing and stays usable.
    """
    compared = [index for index, verdict in enumerate(verdicts) if verdict.embedding is not None and verdict.usable]
    vectors = [vector for index in compared if (vector := verdicts[index].embedding) is not None]
    answer = list(verdicts)
    if not compared:
        return answer
    apart = np.array([[engine.distance(a, b) for b in vectors] for a in vectors])
    first = find_first_photos(apart)
    votes = [row for row, copied in enumerate(first) if row == copied]
    judged = _judge_majority([verdicts[compared[row]] for row in votes], apart[np.ix_(votes, votes)], engine)
    for row, index in enumerate(compared):
        one = judged[votes.index(first[row])]
        added = one.warnings[len(verdicts[compared[first[row]]].warnings) :]
        if first[row] != row:
            added = [*added, f"the same photo as number {compared[first[row]] + 1}: the two count once"]
        answer[index] = replace(one, warnings=[*verdicts[index].warnings, *added])
    return answer


def _judge_majority(verdicts: Sequence[PhotoAssessment], apart: Distances, engine: FaceEngine) -> list[PhotoAssessment]:
    """Usable verdicts on different photos, with what their distances say."""
    if len(verdicts) < 2:
        return list(verdicts)
    most = find_majority(apart, engine.same_person)
    if most.tied:
        return [replace(one, code=STRANGER, quality=0.0, warnings=[*one.warnings, _tie(most)]) for one in verdicts]
    judged = []
    for row, verdict in enumerate(verdicts):
        likeness = similarity(engine, distances_to_others(apart, row, most.members))
        code, quality = (verdict.code, verdict.quality) if row in most.members else (STRANGER, 0.0)
        judged.append(replace(verdict, code=code, quality=quality, similarity=likeness))
    return judged


def _tie(most: Majority) -> str:
    if len(most.members) == 1:
        return "no two photos show the same person, so nobody can say who is meant"
    return f"a tie: several people are in {len(most.members)} photos each, so nobody can say who is meant"


def _no_face(image: Image, engine: FaceEngine) -> str:
    advice = advise_turn(image, engine)
    return f"no face was found; {advice}" if advice else "no face was found"


def _side(faces: Sequence[Face]) -> list[str]:
    advice = name_lying_faces(faces)
    return [advice] if advice else []


def _assess(image: Image, face: Face, embedding: Embedding, warnings: list[str]) -> PhotoAssessment:
    height, width = image.shape[:2]
    seen = photo_quality.measure(image, face)
    sharpness, brightness, clipped = seen.sharpness, seen.brightness, seen.clipped
    looks = pose.measure_pose(face)
    advice = _side([face])
    if min(width, height) < ADVISED_SIDE:
        advice.append(f"smaller than {ADVISED_SIDE} x {ADVISED_SIDE}")
    if face.box.width < ADVISED_FACE:
        advice.append(f"the face is {face.box.width:.0f} pixels wide, {ADVISED_FACE} or more are better")
    if sharpness < BLURRED:
        advice.append("the face is blurred")
    if brightness < DIM:
        advice.append("the face is too dark")
    if brightness > GLARING or clipped > BLOWN:
        advice.append("parts of the face are too bright or too dark to show detail")
    return PhotoAssessment(
        USABLE,
        [*warnings, *advice],
        width,
        height,
        face,
        embedding,
        sharpness,
        brightness,
        looks.yaw,
        looks.pitch,
        looks.roll,
        _frontal(looks),
        _quality(face, sharpness, brightness, clipped, looks),
    )


def _frontal(looks: pose.Pose) -> bool:
    """Return whether all angles are within their limits, rounded to tenths of a degree as answers show them."""
    limits = ((looks.yaw, FRONTAL_YAW), (looks.pitch, FRONTAL_PITCH), (looks.roll, FRONTAL_ROLL))
    return all(round(abs(angle), 1) <= limit for angle, limit in limits)


def _quality(face: Face, sharpness: float, brightness: float, clipped: float, looks: pose.Pose) -> float:
    """Return the overall score in [0, 1]; a product, so that good properties cannot make up for a bad one.

    Each factor is 1 for a good portrait.
    """
    focus = min(sharpness / SHARP, 1.0) ** 0.5
    size = min(face.box.width / (2 * ADVISED_FACE), 1.0) ** 0.5
    turned = max(abs(looks.yaw), abs(looks.pitch), abs(looks.roll) / 2)  # alignment undoes roll, but not yaw and pitch
    towards = max(1 - turned / 90, 0.0)
    light = min(brightness / (2 * DIM), (1 - brightness) / (1 - GLARING), 1.0) * (1 - clipped)
    return float(focus * size * towards * max(light, 0.0))
