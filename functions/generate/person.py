"""A trained person, as a portrait needs them: photos with landmarks, the mean face vector, where the LoRA lies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import ValidationError

from functions.generate.fusion import Portrayal, wears_glasses
from functions.generate.landmarks import face_width, mirrored, misfit
from shared.errors import PhotoError, UnknownUser
from shared.faces import Box, Face, FaceEngine
from shared.images import Embedding, Points
from shared.photos import decode
from shared.settings import Limits
from shared.users import Reference, UserModel, model_key
from shared.workspace import Workspace

FIELD = "configure.user_id"
MIRROR_PENALTY = 1.3  # a mirrored face is not quite the person: parting, moles and smiles change sides
GLASSES_PENALTY = 0.03  # misfit that photos without glasses may have more; a turn of 15 degrees makes about that
ENLARGING_PENALTY = 0.01  # misfit that one doubling of a small photo is worth


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody who was trained.

    Attributes:
        model: which training serves them.
        portrayals: their photos.
        embedding: the mean of their photos' vectors, by the engine in use.
    """

    model: UserModel
    portrayals: list[Portrayal]
    embedding: Embedding


def load(user_id: str, workspace: Workspace, engine: FaceEngine, limits: Limits) -> Person:
    """Read a trained person from the bucket; UnknownUser when there is none, or what is there cannot be read."""
    stored = workspace.read(model_key(user_id))
    if stored is None:
        raise UnknownUser(f"nobody was trained under the user_id {user_id}; train first", FIELD)
    try:
        model = UserModel.model_validate_json(stored)
    except ValidationError as error:
        raise UnknownUser(f"the training of {user_id} cannot be read; train again", FIELD) from error
    if not model.references:
        raise UnknownUser(f"the training of {user_id} has no photos; train again", FIELD)
    photos = [_portrayal(user_id, reference, workspace, limits) for reference in model.references]
    if model.face_engine == engine.name:
        vectors = [np.array(reference.embedding) for reference in model.references]
    else:
        vectors = [
            engine.embed(portrayal.image, Face(Box(*reference.box), portrayal.landmarks, 1.0))
            for portrayal, reference in zip(photos, model.references, strict=True)
        ]
    mean = np.mean(vectors, axis=0)
    return Person(model, [replace(photo, identity=mean) for photo in photos], mean)


def nearest(portrayals: Sequence[Portrayal], landmarks: Points) -> Portrayal:
    """The photo, or mirror image of one, nearest in pose and expression to the face at `landmarks`.

    One with glasses is taken if all are, or if no other is near: who has photos without does not always wear them.
    """
    width = face_width(landmarks)

    def cost(portrayal: Portrayal) -> float:
        enlarging = max(0.0, float(np.log2(width / face_width(portrayal.landmarks))))
        hidden = GLASSES_PENALTY if portrayal.glasses else 0.0
        return misfit(portrayal.landmarks, landmarks) + ENLARGING_PENALTY * enlarging + hidden

    best = min(portrayals, key=cost)
    flipped = min((mirror_image(portrayal) for portrayal in portrayals), key=cost)
    return flipped if cost(flipped) * MIRROR_PENALTY < cost(best) else best


def mirror_image(portrayal: Portrayal) -> Portrayal:
    """The photo seen in a mirror."""
    image = np.ascontiguousarray(portrayal.image[:, ::-1])
    return replace(portrayal, image=image, landmarks=mirrored(portrayal.landmarks, image.shape[1]))


def _portrayal(user_id: str, reference: Reference, workspace: Workspace, limits: Limits) -> Portrayal:
    data = workspace.read(reference.key)
    if data is None:
        raise UnknownUser(f"a photo of {user_id} is gone from the bucket ({reference.key}); train again", FIELD)
    try:
        image = decode(data, limits).image
    except PhotoError as error:
        raise UnknownUser(f"a photo of {user_id} cannot be read ({reference.key}); train again", FIELD) from error
    landmarks = np.array(reference.landmarks, float)
    return Portrayal(image, landmarks, glasses=wears_glasses(image, landmarks))
