"""Photos of one person, judged as check judges them and kept as close-ups: what face fusion takes the person from.

They need no training: one good photo is enough. A photo is left out if check refuses it, if its face is blurred, or if
it does not show the person whom most of the photos show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from shared.contract.users import ReferenceRecord
from shared.contract.workspace import Workspace, fetch_in_turn
from shared.errors import PhotoError
from shared.faces import FaceEngine
from shared.imaging.array_types import Embedding
from shared.photos import decode_photo
from shared.photos.assessment import BLURRED, PhotoAssessment, judge_photo, retry_after_all, same_person
from shared.photos.close_up import CloseUp, cut_close_up
from shared.photos.identity_clustering import find_first_photos
from shared.photos.references import shorten_reference
from shared.settings import Limits

FRAMING = 2.2  # side of a close-up over the face's box: the head with some room for warping
LONGEST_SIDE = 1024  # pixels of a close-up; templates rarely show a larger face
MOST = 20  # photos of one person that are kept, as in the contract
BLUR = "the face is blurred"

Rejected = dict[str, str]
"""The `url` of a photo that is left out, and the `reason`."""


@dataclass(frozen=True, eq=False)
class JudgedPhoto:
    """The verdict on one photo, and its close-up, which only a usable photo has."""

    verdict: PhotoAssessment
    close_up: CloseUp | None = None


@dataclass(frozen=True, eq=False)
class PersonPhoto:
    """A usable photo; the full picture is not kept.

    Attributes:
        name: the reference that it was fetched by, shortened and without secrets.
        close_up: the face with its surroundings.
        embedding: the face vector, made from the full picture.
    """

    name: str
    close_up: CloseUp
    embedding: Embedding


@dataclass(frozen=True, eq=False)
class PersonPhotos:
    """The usable photos of a person from best to worst, and why the others were left out.

    Attributes:
        retry_after: seconds after which those whose servers failed for the moment may be fetched; None if none did.
    """

    photos: list[PersonPhoto]
    rejected: list[Rejected]
    retry_after: int | None = None


def judge_reference(
    data: bytes | PhotoError, engine: FaceEngine, limits: Limits, ignored_face: float = 0.0
) -> JudgedPhoto:
    """Judge one photo by itself and cut out its close-up, decoding it only once; a faulty photo is no exception.

    Args:
        data: the file's bytes, or why they could not be fetched.
        engine: finds and embeds faces.
        limits: limits of bytes and pixels.
        ignored_face: see `shared.photos.assessment.count_usable`.
    """
    try:
        if isinstance(data, PhotoError):
            raise data
        decoded = decode_photo(data, limits)
    except PhotoError as error:
        return JudgedPhoto(PhotoAssessment.of_error(error))
    verdict = judge_photo(decoded.image, engine, decoded.warnings, ignored_face)
    if not verdict.usable or verdict.face is None:
        return JudgedPhoto(verdict)
    return JudgedPhoto(verdict, cut_close_up(decoded.image, verdict.face, FRAMING, LONGEST_SIDE))


def gather_person_photos(
    references: Sequence[str],
    workspace: Workspace,
    engine: FaceEngine,
    judge: Callable[[bytes | PhotoError], JudgedPhoto],
) -> PersonPhotos:
    """Fetch the photos of a person, judge them, and keep the usable ones.

    Args:
        references: the photos as the request names them.
        workspace: fetches the photos and receives the progress.
        engine: compares faces.
        judge: judges one photo; `judge_reference`, or what remembers its verdicts.
    """
    names = [shorten_reference(reference) for reference in references]
    judged = []
    for index, data in enumerate(fetch_in_turn(workspace, references)):
        workspace.progress("references", index, len(references))
        judged.append(judge(data))
    reasons = {index: _fault(one.verdict) for index, one in enumerate(judged)}
    usable = [index for index, reason in reasons.items() if not reason]  # a blurred face is no judge of who is meant
    for index, first in zip(usable, _first_copies([judged[index] for index in usable], engine), strict=True):
        if index != usable[first]:
            reasons[index] = f"the same photo as number {usable[first] + 1}"
    votes = [index for index in usable if not reasons[index]]
    verdicts = dict(zip(votes, same_person([judged[index].verdict for index in votes], engine), strict=True))
    reasons |= {index: _describe(verdict) for index, verdict in verdicts.items() if not verdict.usable}
    kept = sorted((index for index in votes if not reasons[index]), key=lambda index: -verdicts[index].quality)
    reasons |= dict.fromkeys(kept[MOST:], f"usable, but {MOST} photos are enough")
    photos = [_photo(names[index], judged[index]) for index in kept[:MOST]]
    return PersonPhotos(
        photos,
        [{"url": names[index], "reason": reason} for index, reason in reasons.items() if reason],
        retry_after_all([one.verdict for one in judged]),
    )


def describe_rejected(rejected: Sequence[Rejected]) -> str:
    """Return one sentence part per photo that was left out, with its reason."""
    return "; ".join(f"{one['url']}: {one['reason']}" for one in rejected)


def save_close_up(name: str, close_up: CloseUp, embedding: Embedding, workspace: Workspace) -> ReferenceRecord:
    """Save a photo's close-up as an artifact of this name, and return its record."""
    image, face = close_up
    png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    return ReferenceRecord(
        key=workspace.save(name, bytes(png)),
        landmarks=[(float(x), float(y)) for x, y in face.landmarks],
        box=(face.box.left, face.box.top, face.box.right, face.box.bottom),
        embedding=[float(number) for number in embedding],
    )


def _fault(verdict: PhotoAssessment) -> str:
    """Return why a photo cannot be used whomever it shows; empty if it can."""
    if not verdict.usable:
        return _describe(verdict)
    return BLUR if verdict.sharpness < BLURRED else ""


def _describe(verdict: PhotoAssessment) -> str:
    return ": ".join([verdict.message, *verdict.warnings[-1:]])


def _first_copies(judged: Sequence[JudgedPhoto], engine: FaceEngine) -> list[int]:
    """Return for each of these usable photos the row of the first one that is the same."""
    vectors = [vector for one in judged if (vector := one.verdict.embedding) is not None]
    return find_first_photos(np.array([[engine.distance(a, b) for b in vectors] for a in vectors]))


def _photo(name: str, judged: JudgedPhoto) -> PersonPhoto:
    assert judged.close_up is not None
    assert judged.verdict.embedding is not None
    return PersonPhoto(name, judged.close_up, judged.verdict.embedding)
