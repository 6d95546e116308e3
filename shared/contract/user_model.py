"""What serves a user, a training or kept photos: read `model.json`, and check it before it is trusted.

Anybody who can write to the bucket can write this file. It must be about the user it is read for, and all its objects
must belong to one training, or to what one portrait keeps of this user, whose id is in their keys. If the training has
an answer, the answer must be about the same user: a mistake of a person or a script must not put one person's face into
another's portrait. A portrait's answer proves nothing: it may be that of a later request with the same id.
"""

import json
import re
from dataclasses import dataclass

from pydantic import ValidationError

from shared.contract import keys
from shared.contract.users import MOST_BYTES, UserModel
from shared.contract.validation import describe_errors
from shared.contract.workspace import Workspace
from shared.errors import UnknownUser

FIELD = "configure.user_id"
MOST_ANSWER_BYTES = 32 * 2**20  # of a training's answer, which repeats the photos' references
NAME = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]{1,128}"
ARTIFACT = re.compile(rf"(results/train/{NAME}/)a[0-9]{{1,9}}/({NAME}/)*{NAME}")
KEPT = re.compile(rf"(results/generate/{NAME}/)a[0-9]{{1,9}}/{keys.PEOPLE}({NAME})/{NAME}")


@dataclass(frozen=True)
class StoredUser:
    """What is stored of a user.

    Attributes:
        model: what serves the user; None if there is nothing, or nothing that can be used.
        moment: of the answer that `model.json` names; 0 if there is none, or none that can be read.
    """

    model: UserModel | None
    moment: float


def load_user_model(user_id: str, workspace: Workspace) -> UserModel:
    """Read the training that serves this user.

    Raises:
        UnknownUser: there is none, or `model.json` cannot be read or cannot be true.
    """
    return _check_model(user_id, _read(user_id, keys.model(user_id), MOST_BYTES, workspace), workspace)


def find_user(user_id: str, workspace: Workspace) -> StoredUser:
    """Return what serves this user, with its moment; what cannot be used is no error."""
    try:
        stored = _read(user_id, keys.model(user_id), MOST_BYTES, workspace)
    except UnknownUser:
        return StoredUser(None, 0.0)
    moment = _moment(stored)
    try:
        return StoredUser(_check_model(user_id, stored, workspace), moment)
    except UnknownUser:
        return StoredUser(None, moment)


def _check_model(user_id: str, stored: bytes | None, workspace: Workspace) -> UserModel:
    if stored is None:
        raise UnknownUser(
            f"there is no training for the user_id {user_id}; train first, or send configure.references", FIELD
        )
    try:
        found = UserModel.model_validate_json(stored)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise unusable_error(user_id, f"cannot be read: {where}: {describe_errors(first)}") from error
    if found.user_id != user_id:
        raise unusable_error(user_id, f"belongs to the user_id {found.user_id[:64]!r}")
    folder = _folder(found)
    if folder.startswith(keys.results("train")):  # the keys of what a portrait keeps say whose it is
        _check_answer(found, folder, workspace)
    return found


def read_moment(user_id: str, workspace: Workspace) -> float:
    """Return the moment of the answer that the user's model names; 0 if there is no model, or none that can be read."""
    try:
        return _moment(_read(user_id, keys.model(user_id), MOST_BYTES, workspace))
    except UnknownUser:
        return 0.0


def unusable_error(user_id: str, why: str) -> UnknownUser:
    """Return the error for a training that exists but cannot be used; `why` completes "the training of ..."."""
    return UnknownUser(f"the training of {user_id} {why}; train again", FIELD)


def _moment(stored: bytes | None) -> float:
    try:
        return 0.0 if stored is None else float(json.loads(stored)["committed"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return 0.0


def _folder(found: UserModel) -> str:
    """Return the prefix of the request that left all that the model names; raises UnknownUser if there are several."""
    named = [reference.key for reference in found.references] + ([] if found.lora is None else [found.lora])
    artifacts = [ARTIFACT.fullmatch(key) for key in named]
    if found.lora is None and not any(artifacts):
        kept = [KEPT.fullmatch(key) for key in named]
        artifacts = [one if one and one[2] == found.user_id else None for one in kept]
    folders = {artifact[1] for artifact in artifacts if artifact}
    if not all(artifacts) or len(folders) != 1:
        raise unusable_error(found.user_id, "names objects that are not all artifacts of one training")
    return folders.pop()


def _check_answer(found: UserModel, folder: str, workspace: Workspace) -> None:
    """Raise UnknownUser if the answer of the request that made these artifacts names another user, LoRA or photos."""
    user_id = found.user_id
    stored = _read(user_id, folder + "result.json", MOST_ANSWER_BYTES, workspace)
    if stored is None:
        return
    try:
        data = json.loads(stored)["data"]
        answered_user, answered_lora = data["user_id"], data["lora"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise unusable_error(user_id, f"has an answer below {folder} that cannot be read") from error
    if answered_user != user_id:
        raise unusable_error(user_id, f"names artifacts below {folder} that are not this user's")
    if answered_lora != found.lora:
        raise unusable_error(user_id, f"names another lora than the answer below {folder}")


def _read(user_id: str, key: str, most: int, workspace: Workspace) -> bytes | None:
    size = workspace.size(key)
    if size is not None and size > most:
        raise unusable_error(user_id, f"cannot be read: {key} has {size} bytes, more than the limit of {most}")
    return None if size is None else workspace.read(key)
