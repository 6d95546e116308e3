"""Who takes which face of a template: the people of a request, from left to right.

| the request names | who takes what |
|---|---|
| as many as there are faces | each the face at their place |
| as many as could be taken | each one of those; faces too small or turned too far stay, with a warning |
| another number | nobody: `FaceCountMismatch` says where the faces are |

Where the engine was not sure, a warning says so: a face that it missed would put everybody to its right on the wrong
head.
"""

from collections.abc import Sequence

from functions.generate.request import FaceAssignment
from functions.generate.template import FIELD, NOUNS, USER_ID, find_fault, name_face
from shared.contract.manifests import NOBODY
from shared.errors import FaceCountMismatch
from shared.faces import Box, Face
from shared.faces.base import FaceSearch
from shared.faces.lying import name_lying_faces
from shared.photos.references import show_reference
from shared.settings import GenerateSettings

MOST_PLACES = 10  # that a message lists; a crowd's would fill a page


def assign_people(
    found: FaceSearch,
    people: Sequence[FaceAssignment],
    reference: str,
    settings: GenerateSettings,
    field: str = USER_ID,
) -> tuple[list[FaceAssignment], list[str]]:
    """Return who takes each face, from left to right, and warnings.

    Args:
        found: what the search found in the template, at least one face.
        people: those of the request, from left to right.
        reference: the template's, for messages.
        field: the field of the request that says who they are, for errors.

    Raises:
        FaceCountMismatch: neither all faces nor those that can be taken are as many as the people.
    """
    wanted, faces = len(people), found.faces
    if len(faces) == wanted:
        return list(people), _warn_of_doubts(found)
    faults = [find_fault(face, settings) for face in faces]
    if faults.count(None) == wanted:
        waiting = iter(people)
        given = [next(waiting) if fault is None else FaceAssignment(NOBODY) for fault in faults]
        return given, [*_warn_of_faults(faults, wanted, field), *_warn_of_doubts(found)]
    side = name_lying_faces(faces)
    raise FaceCountMismatch(
        f"the template {show_reference(reference)} shows {_count(len(faces), 'face')}, "
        f"but the request has {_count(wanted, NOUNS[field])}: give one per face from left to right, "
        f"and the user_id {NOBODY!r} for a face that stays as it is. {_list_places(faces)}"
        + "".join(f"; {one}" for one in (*_name_doubts(found.doubtful), *([side] if side else []))),
        field,
    )


def _warn_of_faults(faults: Sequence[str | None], wanted: int, field: str) -> list[str]:
    return [
        f"{FIELD}: {name_face(number, len(faults))} {fault}: it stays as it is, since the request has "
        f"{_count(wanted, NOUNS[field])} for the others"
        for number, fault in enumerate(faults, 1)
        if fault is not None
    ]


def _warn_of_doubts(found: FaceSearch) -> list[str]:
    places = _list_places(found.faces)
    return [f"{FIELD}: {doubt}, which nobody takes. {places}" for doubt in _name_doubts(found.doubtful)]


def _name_doubts(doubtful: Sequence[Box]) -> list[str]:
    places = ", ".join(_describe(box) for box in doubtful[:MOST_PLACES])
    return [f"there may be another face, unclear, hidden or turned far aside, at {places}"] if doubtful else []


def _list_places(faces: Sequence[Face]) -> str:
    places = ", ".join(_describe(face.box) for face in faces[:MOST_PLACES])
    return f"From left to right the faces are at {places}" + (", ..." if len(faces) > MOST_PLACES else "")


def _describe(box: Box) -> str:
    """Return a box as answers have it: left, top, right and bottom."""
    return str(list(box.rounded()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
