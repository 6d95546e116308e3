"""From references to the photos that a training uses, best first by the verdicts of check; and why not the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from functions.train.crops import closest_crop, crop_face
from shared.contract.data_urls import is_embedded
from shared.contract.workspace import Workspace, fetch_in_turn
from shared.errors import PhotoError, TooFewPhotos
from shared.faces import Face, FaceEngine
from shared.imaging.array_types import Embedding, Image
from shared.models.diffusion import ModelProfile
from shared.photos import decode_photo
from shared.photos.assessment import UNDECODABLE, PhotoAssessment, judge_photo, same_person
from shared.photos.references import shorten_reference, show_reference
from shared.settings import Limits

FEWEST, MOST = 5, 20  # photos of a training, the contract's
TOO_SMALL = 0.25  # of the face that the base model sees; less is four invented pixels for each real one, and more
REFERENCE_FRAMING = 2.2  # side of a reference picture over the face's box: the head with some room for warping
REFERENCE_SIDE = 1024  # pixels; templates rarely show a larger face

CloseUp = tuple[Image, Face]


@dataclass(frozen=True, eq=False)
class Photo:
    """A usable photo; the picture itself is let go, two close-ups stay.

    Attributes:
        name: the reference it was fetched by, shortened.
        quality: rank in [0, 1], see `shared.photos.assessment`.
        material: close-up to cut crops of working size from.
        reference: close-up for the user's bundle.
    """

    name: str
    quality: float
    frontal: bool
    embedding: Embedding
    material: CloseUp
    reference: CloseUp


@dataclass(frozen=True, eq=False)
class Dataset:
    """Photos from best to worst, and why the others are not among them."""

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
    """Fetch and judge the photos, and keep the best; `ignored_face` is the setting of that name.

    Raises TooFewPhotos with every rejected photo's reason where fewer than five are usable.
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
        raise TooFewPhotos(_too_few(len(usable), rejected), "images")
    rejected += [
        {"url": examined[index].name, "reason": f"usable, but {MOST} photos are better"} for index in usable[MOST:]
    ]
    return Dataset([_photo(examined[index], verdicts[index]) for index in usable[:MOST]], rejected)


def hold_out(photos: Sequence[Photo]) -> list[int]:
    """Which photos no update may see, for validation to go by: none of up to 6, one of 7 to 9, else two.

    From the middle of the ranks, frontal ones first: the best are needed for the training, the worst judge badly.
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
    """Decode once, for the verdict and for the close-ups."""
    name = shorten_reference(reference) if is_embedded(reference) else show_reference(reference)
    try:
        if isinstance(data, PhotoError):
            raise data
        decoded = decode_photo(data, limits)
    except PhotoError as error:
        return _Examined(name, PhotoAssessment(UNDECODABLE, [error.message]))
    verdict = judge_photo(decoded.image, engine, decoded.warnings, ignored_face)
    if not verdict.usable or verdict.face is None:
        return _Examined(name, verdict)
    material = closest_crop(decoded.image, verdict.face, working.size, working.framing)
    return _Examined(name, verdict, material, crop_face(decoded.image, verdict.face, REFERENCE_FRAMING, REFERENCE_SIDE))


def _reason(verdict: PhotoAssessment, working: ModelProfile) -> str | None:
    """Why a photo cannot be used, or None."""
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
