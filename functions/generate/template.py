"""The template: fetch it, decode it, and find and check its faces."""

from collections.abc import Sequence

import numpy as np

from functions.generate.decoded_ahead import DecodedAhead
from functions.generate.face.landmarks import face_width
from functions.generate.occlusion.network import OccluderNetwork
from functions.generate.occlusion.occluder import Occluder, find_occluder
from functions.generate.request import FaceAssignment
from shared.contract.manifests import NOBODY
from shared.contract.workspace import Workspace
from shared.errors import NoFaceInTemplate, PhotoError, UnsuitableFace
from shared.faces import Face, FaceEngine, FaceError, pose
from shared.faces.base import FaceSearch, search_faces
from shared.faces.lying import advise_turn, name_lying_faces
from shared.imaging.array_types import Image
from shared.photos import Decoded, decode_photo
from shared.photos.references import show_reference
from shared.settings import GenerateSettings, Limits

FIELD = "template_image"
USER_ID, REFERENCES = "configure.user_id", "configure.references"
NOUNS = {USER_ID: "user_id", REFERENCES: "reference list"}
FEATURES = slice(17, 68)  # landmarks of brows, eyes, nose and mouth
MOST_OUTSIDE = 0.25  # of them; from a third on noses and mouths were bent at the edge


def decode_ahead(reference: str, workspace: Workspace, limits: Limits, ahead: DecodedAhead) -> None:
    """Decode the template of the portrait that is made next; raises PhotoError."""
    fetched = workspace.fetch([reference])[0]
    if not isinstance(fetched, PhotoError):
        ahead.keep(fetched, decode_photo(fetched, limits, keep_own=True))


def fetch_template(reference: str, workspace: Workspace, limits: Limits, ahead: DecodedAhead | None = None) -> Decoded:
    """Fetch and decode the template, in sRGB and in its own color space.

    Args:
        ahead: has it decoded already, perhaps.

    Raises:
        PhotoError: it cannot be fetched or decoded; the message names the reference.
    """
    fetched = workspace.fetch([reference])[0]
    try:
        if isinstance(fetched, PhotoError):
            raise fetched
        known = None if ahead is None else ahead.take(fetched)
        return known or decode_photo(fetched, limits, keep_own=True)
    except PhotoError as error:
        named = type(error)(f"the template {show_reference(reference)}: {error.message}", FIELD)
        raise named.retry_in(error.retry_after) from error


def find_faces(image: Image, reference: str, engine: FaceEngine) -> FaceSearch:
    """Return the template's faces, at least one, and where there may be others.

    Whatever the engine detects counts as a face, as in check: the engines' scores have no common scale and may be
    negative.

    Raises:
        NoFaceInTemplate: no face; the message says how to turn the picture if it lies on a side or upside down.
        PhotoError: the detector failed.
    """
    try:
        found = search_faces(engine, image)
    except FaceError as error:
        raise PhotoError(f"the template {show_reference(reference)}: {error}", FIELD) from error
    if not found.faces:
        advice = advise_turn(image, engine) or "choose another picture"
        raise NoFaceInTemplate(f"the template {show_reference(reference)} shows no face; {advice}", FIELD)
    return found


def warn_of_lying(found: Sequence[Face]) -> list[str]:
    """A warning where all faces lie on their side: the portrait is made as it lies."""
    side = name_lying_faces(found)
    return [f"{FIELD}: {side}"] if side else []


def check_faces(
    found: Sequence[Face], assignments: Sequence[FaceAssignment], reference: str, settings: GenerateSettings
) -> None:
    """Check that each face that a person takes is large enough and not turned too far away.

    Raises:
        UnsuitableFace: it is not; the message says which face, by how much, and the limit.
    """
    for number, (face, who) in enumerate(zip(found, assignments, strict=True), 1):
        wrong = None if who.nobody else find_fault(face, settings)
        if wrong:
            raise _unsuitable(reference, number, len(found), wrong)


def warn_of_cut_faces(
    found: Sequence[Face], assignments: Sequence[FaceAssignment], shape: tuple[int, ...]
) -> list[str]:
    """Warnings about faces that somebody takes and that the picture's edge cuts off: what is outside is a guess.

    Args:
        shape: of the template, (H, W, ...).
    """
    warnings = []
    for number, (face, who) in enumerate(zip(found, assignments, strict=True), 1):
        features = face.landmarks[FEATURES]
        outside = float(np.mean(np.any((features < 0) | (features > [shape[1], shape[0]]), axis=1)))
        if outside > MOST_OUTSIDE and not who.nobody:
            told = (
                f"{name_face(number, len(found))} is cut off by the picture's edge, with {outside:.0%} of its features"
            )
            warnings.append(f"{FIELD}: {told}; it may look odd there")
    return warnings


def find_occluders(
    image: Image,
    found: Sequence[Face],
    assignments: Sequence[FaceAssignment],
    reference: str,
    network: OccluderNetwork,
    settings: GenerateSettings,
) -> list[Occluder | None]:
    """Find what lies before each face that a person takes; None for a face before which nothing lies, or that stays.

    Raises:
        UnsuitableFace: too much of a face is hidden; the message says which face, by how much, and the limit.
    """
    occluders = [
        None if who.nobody else find_occluder(image, face.landmarks, network)
        for face, who in zip(found, assignments, strict=True)
    ]
    for number, occluder in enumerate(occluders, 1):
        if occluder is not None and occluder.hidden > settings.most_hidden:
            wrong = (
                f"is hidden: something lies before {occluder.hidden:.0%} of its eyes, nose and mouth, more than the "
                f"limit of {settings.most_hidden:.0%}"
            )
            raise _unsuitable(reference, number, len(found), wrong)
    return occluders


def name_face(number: int, count: int) -> str:
    """Return what messages call a face of a template with `count` of them."""
    return "the face" if count == 1 else f"face {number} from the left"


def find_fault(face: Face, settings: GenerateSettings) -> str | None:
    """Return why nobody can take a face, after "the face"; None if somebody can."""
    width = face_width(face.landmarks)
    if width < settings.smallest_face:
        return f"is {width:.0f} pixels wide, less than the limit of {settings.smallest_face:.0f}"
    angles = pose.measure_pose(face)
    for angle, direction in ((angles.yaw, "to the side"), (angles.pitch, "up or down")):
        if abs(angle) > settings.most_turned:
            return f"looks {abs(angle):.0f} degrees {direction}, more than the limit of {settings.most_turned:.0f}"
    return None


def _unsuitable(reference: str, number: int, count: int, wrong: str) -> UnsuitableFace:
    advice = "choose another picture" + ("" if count == 1 else f", or give {NOBODY!r} for it")
    return UnsuitableFace(
        f"the template {show_reference(reference)}: {name_face(number, count)} {wrong}; {advice}", FIELD
    )
