"""The people whom a bucket knows: those whose model generate can use."""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from shared.buckets import Bucket, MissingObject
from shared.contract import keys
from shared.contract.users import MOST_BYTES, UserModel


@dataclass(frozen=True)
class Person:
    """One known person.

    Attributes:
        user_id: the person's id.
        photos: how many photos portraits take the face from.
        trained: whether there is a LoRA.
        base_model: that the LoRA belongs to, or that the photos were kept with.
        since: when the model was written, in seconds since the epoch.
    """

    user_id: str
    photos: int
    trained: bool
    base_model: str
    since: float


def list_people(bucket: Bucket) -> Iterator[Person]:
    """Yield the people of a bucket by their ids; records that photog cannot have written are nobody's."""
    for user_id in sorted(bucket.folders(keys.USERS)):
        info = bucket.head(keys.model(user_id))
        if info is None or info.size > MOST_BYTES:
            continue
        try:
            model = UserModel.model_validate_json(bucket.get(info.key))
        except (MissingObject, ValidationError):
            continue
        if model.user_id == user_id:
            trained = model.lora is not None
            yield Person(user_id, len(model.references), trained, model.base_model, info.modified)


def count_photos_of_others(bucket: Bucket, known: Container[str]) -> Iterator[tuple[str, int]]:
    """Yield who is not known but has photos here, as after a failed or interrupted request, and how many."""
    for user_id in sorted(bucket.folders(keys.USERS)):
        if user_id not in known and (count := sum(1 for _ in bucket.list(keys.user_photos(user_id)))):
            yield user_id, count
