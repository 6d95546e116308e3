"""The reference faces of a user's bundle: what face fusion takes the person's features from."""

from collections.abc import Sequence

from functions.train.dataset import Photo
from functions.train.image_grid import png
from shared.contract.users import Reference
from shared.contract.workspace import Workspace


def saved(photos: Sequence[Photo], workspace: Workspace) -> list[Reference]:
    """Keep each photo's close-up as an artifact, best photo first."""
    return [_saved(index, photo, workspace) for index, photo in enumerate(photos)]


def _saved(index: int, photo: Photo, workspace: Workspace) -> Reference:
    image, face = photo.reference
    return Reference(
        key=workspace.save(f"references/{index}.png", png(image)),
        landmarks=[(float(x), float(y)) for x, y in face.landmarks],
        box=(face.box.left, face.box.top, face.box.right, face.box.bottom),
        embedding=[float(number) for number in photo.embedding],
    )
