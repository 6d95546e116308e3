"""People whose references a portrait keeps, so that later requests can name them.

| under the user_id there is | what happens to the references |
|---|---|
| nobody, or what cannot be used | kept as artifacts, which the user's model names once the answer is committed |
| a user without a training, from other photos | the same, in place of the earlier photos |
| a user without a training, from the same photos | nothing, they are kept already |
| a user with a training | nothing but a warning: photos never take the place of a LoRA |
| a user with a training, and the photos show another person who is to replace them expressly | kept |
| whatever came before the answer is committed | that stays: the record says which moment's it replaces |
"""

import hashlib
from dataclasses import dataclass

from functions.generate.models import GenerateModels
from functions.generate.person import Person
from shared.contract import keys
from shared.contract.manifests import Json
from shared.contract.request import IfAnotherPerson
from shared.contract.users import UserModel
from shared.contract.workspace import Workspace
from shared.photos.known_person import compare_again, judge_references
from shared.photos.person_photos import PersonPhoto, PersonPhotos, save_close_up

REPLACES = "replaces"  # in a record: the moment of the one that was there, 0 for none, see `lifecycle/pointers.py`
DIGITS = 16  # of a hash that names a picture among a few hundred of one user


@dataclass(frozen=True)
class KeptPerson:
    """Whether a person's references are kept now: the record to point to if this portrait keeps them, and warnings."""

    record: Json | None = None
    warnings: tuple[str, ...] = ()


def keep_person(
    who: Person, workspace: Workspace, models: GenerateModels, if_another: IfAnotherPerson = "warn"
) -> KeptPerson:
    """Keep the references of a person who has some and a user_id; do nothing for anybody else.

    Args:
        if_another: what the request says about references of another person than the one who is known.

    Raises AnotherPerson if somebody else became known meanwhile, and the request refuses that.
    """
    if who.gathered is None or who.user_id is None or who.known is None:
        return KeptPerson()
    vectors = [photo.embedding for photo in who.gathered.photos]
    now = compare_again(who.known, vectors, workspace, models.engine, models.settings.limits)
    known, came_between = now.model, now is not who.known
    doubts = judge_references(now, if_another, who.field) if came_between else []
    gives_up = now.is_another and if_another == "replace" and not came_between
    if known is not None and known.lora is not None and not gives_up:
        used = f"{who.user_id} has a training, so these pictures were used for this portrait only"
        return KeptPerson(warnings=(*doubts, f"{who.field}: {used}; leave them out to use the training"))
    if known is not None and known.face_engine == models.engine.name and _are_same(known, who.gathered):
        return KeptPerson(warnings=tuple(doubts))
    folder = keys.kept_photos(who.user_id)
    references = [
        save_close_up(f"{folder}{_digest(photo)}.png", photo.close_up, photo.embedding, workspace)
        for photo in who.gathered.photos
    ]
    record = UserModel(
        user_id=who.user_id,
        request_id=workspace.request_id,
        lora=None,
        base_model=models.base_model,
        face_engine=models.engine.name,
        trigger="",
        references=references,
    )
    return KeptPerson(record.model_dump(mode="json") | {REPLACES: now.moment}, tuple(doubts))


def _digest(photo: PersonPhoto) -> str:
    """Return a name for the photo that no other one has.

    An id that became free is used again, and the new request may keep the same user: it must not write over pictures
    that a model names.
    """
    return hashlib.sha256(photo.close_up[0].tobytes()).hexdigest()[:DIGITS]


def _are_same(known: UserModel, gathered: PersonPhotos) -> bool:
    """Return whether a user's photos are these, by their face vectors, which differ between any two photos."""
    return [one.embedding for one in known.references] == [
        [float(number) for number in photo.embedding] for photo in gathered.photos
    ]
