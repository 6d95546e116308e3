"""The user's reference photos, from which face fusion takes the person's features."""

from collections.abc import Sequence

from functions.train.dataset import Photo
from functions.train.image_grid import encode_png
from shared.contract.users import ReferenceRecord
from shared.contract.workspace import Workspace


def save_references(photos: Sequence[Photo], workspace: Workspace) -> list[ReferenceRecord]:
    """Save each photo's close-up as an artifact and return the records, best photo first."""
    return [_save_reference(index, photo, workspace) for index, photo in enumerate(photos)]


def _save_reference(index: int, photo: Photo, workspace: Workspace) -> ReferenceRecord:
    image, face = photo.reference
    return ReferenceRecord(
        key=workspace.save(f"references/{index}.png", encode_png(image)),
        landmarks=[(float(x), float(y)) for x, y in face.landmarks],
        box=(face.box.left, face.box.top, face.box.right, face.box.bottom),
        embedding=[float(number) for number in photo.embedding],
    )
