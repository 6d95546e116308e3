"""Whether a photo of a person can be used, and how good it is: what check answers and train chooses by.

| code | message | here |
|---|---|---|
| 1 | success | one whole face, and it has a vector |
| 2 | Image decode error | not fetched, or not decoded |
| 3 | Number of face is not 1 | none, several, or one that the border cuts off: the photo shows no one whole face |
| 4 | Image detect error | the engine failed while it looked for faces |
| 5 | Image encoding error | the engine gave no vector for the face |
| 6 | This photo is not the same person in photos | `same_person` only: not the person that most photos show |

Why a photo got its code is in its `warnings`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from shared.errors import PhotoError
from shared.faces import Face, FaceEngine, FaceError, photo_quality, pose
from shared.faces.base import largest, similarity
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
WHOLE = 0.98  # share of landmarks within the picture: all but one; a face cut through the cheek keeps 0.91 to 0.93
BLURRED = 0.02  # sharpness of a good photo blurred by a Gaussian of 1 % of the face's width
SHARP = 0.2  # sharpness from which more is texture and noise rather than focus
ADVISED_SIDE = 512  # pixels; the page's advice for training photos
ADVISED_FACE = 128  # pixels; below it the embedded base model sees an enlarged face
DIM, GLARING = 0.2, 0.85  # mean luma of a face outside of which detail is lost
NO_MEMORY = "the picture needs more memory than there is: send it smaller"
BLOWN = 0.1  # share of a face without detail


@dataclass(frozen=True, eq=False)
class PhotoAssessment:
    """What is known of one photo; keeps no pixels.

    Attributes:
        code, message: of the table above.
        warnings: reasons and advice, for the sender.
        width, height: of the upright picture in pixels; 0 where it was not decoded.
        face: the one face in pixels of the upright picture; None with codes 2 to 4.
        embedding: the engine's vector; with codes 1 and 6.
        sharpness: of the face, see `faces.appearance`; below 0.02 it is blurred.
        brightness: mean luma of the face in [0, 1].
        yaw, pitch, roll: degrees, see `faces.pose`.
        frontal: whether all three angles are within 20 degrees.
        quality: total rank in [0, 1], comparable between photos; 0 unless usable.
        similarity: to the other photos of the person in [0, 1]; None where it was not compared.
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

    @property
    def message(self) -> str:
        """The contract's words for the code."""
        return MESSAGES[self.code]

    @property
    def usable(self) -> bool:
        """Whether the code is 1."""
        return self.code == USABLE


def inspect_photo(
    data: bytes | PhotoError, engine: FaceEngine, limits: Limits, ignored_face: float = 0.0
) -> PhotoAssessment:
    """Judge one photo by itself; never raises for what is wrong with the photo.

    Args:
        data: the file's bytes, or why they could not be had.
        engine: finds and embeds faces.
        limits: of bytes and pixels.
        ignored_face: see `judge_photo`.
    """
    if isinstance(data, PhotoError):
        return PhotoAssessment(UNDECODABLE, [data.message])
    try:
        decoded = decode_photo(data, limits)
    except PhotoError as error:
        return PhotoAssessment(UNDECODABLE, [error.message])
    return judge_photo(decoded.image, engine, decoded.warnings, ignored_face)


def judge_photo(image: Image, engine: FaceEngine, warnings: list[str], ignored_face: float = 0.0) -> PhotoAssessment:
    """Judge a decoded photo, RGB uint8 (H, W, 3); `warnings` are those that are known already.

    `ignored_face` is the setting of that name: how small a further face must be against the main one to be ignored; 0
    ignores none. A photo that there is not memory enough to look at is one that could not be decoded.
    """
    try:
        return _judge_face(image, engine, warnings, ignored_face)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        height, width = image.shape[:2]
        return PhotoAssessment(UNDECODABLE, [*warnings, NO_MEMORY], width, height)


def _judge_face(image: Image, engine: FaceEngine, warnings: list[str], ignored_face: float) -> PhotoAssessment:
    height, width = image.shape[:2]
    try:
        faces = engine.detect(image)
    except FaceError as error:
        return PhotoAssessment(UNDETECTED, [*warnings, str(error)], width, height)
    faces, beside = count_usable(faces, ignored_face)
    if beside:
        warnings = [*warnings, f"{beside} much smaller faces far from the main one were ignored"]
    if len(faces) != 1:
        found = f"{len(faces)} faces were found" if faces else _no_face(image, engine)
        return PhotoAssessment(NOT_ONE_FACE, [*warnings, *_side(faces), found], width, height)
    face = faces[0]
    if photo_quality.is_whole(face, width, height) < WHOLE:
        return PhotoAssessment(NOT_ONE_FACE, [*warnings, "the face is cut off by the border"], width, height)
    try:
        embedding = engine.embed(image, face)
    except FaceError as error:
        return PhotoAssessment(UNENCODED, [*warnings, str(error)], width, height, face)
    return _measured(image, face, embedding, warnings)


def count_usable(faces: list[Face], ignored: float) -> tuple[list[Face], int]:
    """The faces that count, and how many do not.

    Not counted is one whose longer side is at most `ignored` times that of the largest face, and whose center is
    further from the largest one's than that one is wide. The page's rule is `ignored` 0: every face counts.
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
    """Verdicts given by a deferred engine, with their vectors; code 5 where there is none after all."""
    waiting = [index for index, verdict in enumerate(verdicts) if verdict.embedding is not None]
    places = [place for verdict in verdicts if (place := verdict.embedding) is not None]
    answer = list(verdicts)
    for index, vector in zip(waiting, engine.embedded(places), strict=True):
        one = verdicts[index]
        if isinstance(vector, FaceError):
            answer[index] = PhotoAssessment(UNENCODED, [*one.warnings, str(vector)], one.width, one.height, one.face)
        else:
            answer[index] = replace(one, embedding=vector)
    return answer


def same_person(verdicts: Sequence[PhotoAssessment], engine: FaceEngine) -> list[PhotoAssessment]:
    """Give code 6 to usable photos of anybody but the person of most photos, and a similarity to the compared ones.

    Who that is, is said in `identity_clustering.py`. In a fair tie nobody can say who is meant: every usable photo
    gets code 6, no similarity, and a warning that says so. A photo that came twice has one vote, and is judged like
    its first copy. One usable photo is its own person and is compared with nothing.
    """
    compared = [index for index, verdict in enumerate(verdicts) if verdict.embedding is not None and verdict.usable]
    vectors = [vector for index in compared if (vector := verdicts[index].embedding) is not None]
    answer = list(verdicts)
    if not compared:
        return answer
    apart = np.array([[engine.distance(a, b) for b in vectors] for a in vectors])
    first = find_first_photos(apart)
    votes = [row for row, copied in enumerate(first) if row == copied]
    judged = _judged([verdicts[compared[row]] for row in votes], apart[np.ix_(votes, votes)], engine)
    for row, index in enumerate(compared):
        one = judged[votes.index(first[row])]
        said = one.warnings[len(verdicts[compared[first[row]]].warnings) :]
        if first[row] != row:
            said = [*said, f"the same photo as number {compared[first[row]] + 1}: the two count once"]
        answer[index] = replace(one, warnings=[*verdicts[index].warnings, *said])
    return answer


def _judged(verdicts: Sequence[PhotoAssessment], apart: Distances, engine: FaceEngine) -> list[PhotoAssessment]:
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
    return f"a tie: several persons are in {len(most.members)} photos each, so nobody can say who is meant"


def _no_face(image: Image, engine: FaceEngine) -> str:
    advice = advise_turn(image, engine)
    return f"no face was found; {advice}" if advice else "no face was found"


def _side(faces: Sequence[Face]) -> list[str]:
    advice = name_lying_faces(faces)
    return [advice] if advice else []


def _measured(image: Image, face: Face, embedding: Embedding, warnings: list[str]) -> PhotoAssessment:
    height, width = image.shape[:2]
    sharpness = photo_quality.measure_sharpness(image, face)
    brightness = photo_quality.measure_brightness(image, face)
    clipped = photo_quality.measure_clipping(image, face)
    looks = pose.estimate_pose(face.landmarks)
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
    """Whether all angles are within their limits, to the tenth of a degree that answers show."""
    limits = ((looks.yaw, FRONTAL_YAW), (looks.pitch, FRONTAL_PITCH), (looks.roll, FRONTAL_ROLL))
    return all(round(abs(angle), 1) <= limit for angle, limit in limits)


def _quality(face: Face, sharpness: float, brightness: float, clipped: float, looks: pose.Pose) -> float:
    """A product, so that one bad property cannot hide behind good ones; each factor is 1 for a good portrait."""
    focus = min(sharpness / SHARP, 1.0) ** 0.5
    size = min(face.box.width / (2 * ADVISED_FACE), 1.0) ** 0.5
    turned = max(abs(looks.yaw), abs(looks.pitch), abs(looks.roll) / 2)  # a tilt is undone by alignment, a turn is not
    towards = max(1 - turned / 90, 0.0)
    light = min(brightness / (2 * DIM), (1 - brightness) / (1 - GLARING), 1.0) * (1 - clipped)
    return float(focus * size * towards * max(light, 0.0))
