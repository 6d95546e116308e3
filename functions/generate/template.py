"""The template: fetched, decoded, and its faces found."""

from functions.generate.request import NOBODY
from shared.errors import FaceCountMismatch, NoFaceInTemplate, PhotoError
from shared.faces import Face, FaceEngine, FaceError
from shared.images import Image
from shared.photos import Decoded, decode
from shared.settings import Limits
from shared.workspace import Workspace

FIELD = "template_image"
FAINT = 0.1  # of the best face's score; a badge on a sleeve got 0.05, the faintest real face of a group 0.12
SHOWN = 80  # characters of a reference in messages; data: URLs are long


def fetch(reference: str, workspace: Workspace, limits: Limits) -> Decoded:
    """The template's pixels; PhotoError naming the field and the reference."""
    fetched = workspace.fetch([reference])[0]
    try:
        if isinstance(fetched, PhotoError):
            raise fetched
        return decode(fetched, limits)
    except PhotoError as error:
        raise type(error)(f"the template {shown(reference)}: {error.message}", FIELD) from error


def faces(image: Image, reference: str, wanted: int, engine: FaceEngine) -> list[Face]:
    """The template's faces from left to right, as many as `wanted`.

    Raises NoFaceInTemplate, FaceCountMismatch with both counts, or PhotoError when the detector fails.
    """
    try:
        found = engine.detect(image)
    except FaceError as error:
        raise PhotoError(f"the template {shown(reference)}: {error}", FIELD) from error
    if not found:
        raise NoFaceInTemplate(f"the template {shown(reference)} shows no face; choose another picture", FIELD)
    best = max(face.score for face in found)
    kept = [face for face in found if face.score >= FAINT * best]
    if len(kept) != wanted:
        raise FaceCountMismatch(
            f"the template {shown(reference)} shows {_count(len(kept), 'face')}, but {_count(wanted, 'user_id')} "
            f"came: give one per face from left to right, and {NOBODY!r} for a face that stays as it is",
            "configure.user_id",
        )
    return kept


def shown(reference: str) -> str:
    """A reference fit for a message."""
    return reference if len(reference) <= SHOWN else reference[: SHOWN - 3] + "..."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
