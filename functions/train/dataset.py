"""The photos of a training, best first by check's verdicts, and the reasons why the other references are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from functions.train.crops import closest_crop
from shared.contract.data_urls import is_embedded
from shared.contract.workspace import Workspace, fetch_in_turn
from shared.errors import PhotoError, TooFewPhotos
from shared.faces import FaceEngine
from shared.imaging.array_types import Embedding
from shared.models.profile import ModelProfile
from shared.photos import decode_photo
from shared.photos.assessment import PhotoAssessment, judge_photo, retry_after_all, same_person
from shared.photos.close_up import CloseUp, cut_close_up
from shared.photos.person_photos import FRAMING, LONGEST_SIDE
from shared.photos.references import shorten_reference, show_reference
from shared.settings import Limits

FEWEST, MOST = 5, 20  # photos of a training, as in the contract
TOO_SMALL = 0.25  # face width over the width that the base model works at; smaller faces would be enlarged over 4 times


@dataclass(frozen=True, eq=False)
class Photo:
    """A usable photo, kept as two close-ups; the full picture is not kept in memory.

    Attributes:
        name: the reference that it was fetched by, shortened.
        quality: score in [0, 1], see `shared.photos.assessment`.
        frontal: whether yaw, pitch and roll are all within 20 degrees.
        embedding: the face vector.
        material: close-up from which crops of working size are cut.
        reference: close-up for the user's record.
    """

    name: str
    quality: float
    frontal: bool
    embedding: Embedding
    material: CloseUp
    reference: CloseUp


@dataclass(frozen=True, eq=False)
class Dataset:
    """The usable photos from best to worst, and the `url` and `reason` of each rejected one."""

    photos: list[Photo]
    rejected: list[dict[str, str]]


@dataclass(frozen=True, eq=False)
class _Examined:
    name: str
    verdict: PhotoAssessment
    material: CloseUp | None = None
    reference: CloseUp | None = None


def prepare_dataset(
    references: Sequence[str],
    workspace: Workspace,
    engine: FaceEngine,
    working: ModelProfile,
    limits: Limits,
    ignored_face: float = 0.0,
) -> Dataset:
    """Fetch and judge the photos, and keep the best ones.

    Args:
        references: the photos as the request names them.
        workspace: fetches the photos and receives the progress.
        engine: finds and compares faces.
        working: the base model's working size and framing.
        limits: limits for each photo.
        ignored_face: the setting of that name, see `shared.photos.assessment.count_usable`.

    Raises:
        TooFewPhotos: fewer than five photos are usable; the message says why each of the others was rejected.
    """
    examined = []
    for index, data in enumerate(fetch_in_turn(workspace, references)):
        workspace.progress("photos", index, len(references))
        examined.append(_examine(references[index], data, engine, working, limits, ignored_face))
    verdicts = same_person([one.verdict for one in examined], engine)
    reasons = [_reason(verdict, working) for verdict in verdicts]
    usable = [index for index, reason in enumerate(reasons) if reason is None]
    usable.sort(key=lambda index: -verdicts[index].quality)
    rejected = [{"url": one.name, "reason": reason} for one, reason in zip(examined, reasons, strict=True) if reason]
    if len(usable) < FEWEST:
        passing = [verdict for verdict in verdicts if verdict.retry_after is not None]
        enough = len(usable) + len(passing) >= FEWEST
        error = TooFewPhotos(_too_few(len(usable), rejected), "images")
        raise error.retry_in(retry_after_all(passing) if enough else None)
    rejected += [
        {"url": examined[index].name, "reason": f"usable, but {MOST} photos are better"} for index in usable[MOST:]
    ]
    return Dataset([_photo(examined[index], verdicts[index]) for index in usable[:MOST]], rejected)


def hold_out(photos: Sequence[Photo]) -> list[int]:
    """Return the indices of the photos that are held out of the training for validation.

    None of up to 6 photos, one of 7 to 9, two of more. They come from the middle of the ranking, frontal ones first:
    the best photos are needed for the training, and the worst ones are poor judges.
    """
    count = 0 if len(photos) < 7 else 1 if len(photos) < 10 else 2
    middle = range(len(photos) // 2, len(photos))
    return sorted(middle, key=lambda index: not photos[index].frontal)[:count]


def _examine(
    reference: str,
    data: bytes | PhotoError,
    engine: FaceEngine,
    working: ModelProfile,
    limits: Limits,
    ignored_face: float,
) -> _Examined:
    """Judge a photo and cut out its close-ups, decoding it only once."""
    name = shorten_reference(reference) if is_embedded(reference) else show_reference(reference)
    try:
        if isinstance(data, PhotoError):
            raise data
        decoded = decode_photo(data, limits)
    except PhotoError as error:
        return _Examined(name, PhotoAssessment.of_error(error))
    verdict = judge_photo(decoded.image, engine, decoded.warnings, ignored_face)
    if not verdict.usable or verdict.face is None:
        return _Examined(name, verdict)
    material = closest_crop(decoded.image, verdict.face, working.size, working.framing)
    return _Examined(name, verdict, material, cut_close_up(decoded.image, verdict.face, FRAMING, LONGEST_SIDE))


def _reason(verdict: PhotoAssessment, working: ModelProfile) -> str | None:
    """Return why a photo cannot be used, or None if it can."""
    if not verdict.usable:
        return ": ".join([verdict.message, *verdict.warnings[-1:]])
    least = TOO_SMALL * working.size / working.framing
    if verdict.face is not None and max(verdict.face.box.width, verdict.face.box.height) < least:
        return f"the face is {verdict.face.box.width:.0f} pixels wide; at least {least:.0f} are needed"
    return None


def _too_few(usable: int, rejected: Sequence[dict[str, str]]) -> str:
    reasons = "; ".join(f"{one['url']}: {one['reason']}" for one in rejected)
    wanted = f"{usable} usable photos, {FEWEST} are needed: add photos that show one whole face of the person"
    return f"{wanted}. {reasons}" if reasons else wanted


def _photo(examined: _Examined, verdict: PhotoAssessment) -> Photo:
    assert verdict.embedding is not None
    assert examined.material is not None
    assert examined.reference is not None
    return Photo(
        examined.name, verdict.quality, verdict.frontal, verdict.embedding, examined.material, examined.reference
    )
