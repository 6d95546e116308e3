"""The user's reference photos, from which face fusion takes the person's features."""

from collections.abc import Sequence

from functions.train.dataset import Photo
from shared.contract.users import ReferenceRecord
from shared.contract.workspace import Workspace
from shared.photos.person_photos import save_close_up


def save_references(photos: Sequence[Photo], workspace: Workspace) -> list[ReferenceRecord]:
    """Save each photo's close-up as an artifact and return the records, best photo first."""
    return [
        save_close_up(f"references/{index}.png", photo.reference, photo.embedding, workspace)
        for index, photo in enumerate(photos)
    ]
