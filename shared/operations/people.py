"""The people whom a bucket knows: those whose model generate can use."""

import itertools
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import ValidationError

from shared.buckets import Bucket, MissingObject
from shared.contract import keys
from shared.contract.users import MOST_BYTES, UserModel

READERS = 16  # models that are read at once; each is two round trips to a store
CHUNK = 256  # people whose models are read before the first of them is told


@dataclass(frozen=True)
class Person:
    """One known person.

    Attributes:
        user_id: the person's id.
        photos: how many photos portraits take the face from.
        trained: whether there is a LoRA.
        base_model: that the LoRA belongs to, or that the photos were kept with.
        face_engine: that made the photos' face vectors.
        request_id: of the training or portrait that made the model.
        since: when the model was written, in seconds since the epoch.
    """

    user_id: str
    photos: int
    trained: bool
    base_model: str
    face_engine: str
    request_id: str
    since: float


def list_people(bucket: Bucket, after: str = "") -> Iterator[Person]:
    """Yield the people of a bucket by their ids; records that photog cannot have written are nobody's.

    Of each one the model is read, which has no weights, several at once.

    Args:
        after: yields only ids that sort after this one.
    """
    ids = iter([user_id for user_id in sorted(bucket.folders(keys.USERS)) if user_id > after])
    with ThreadPoolExecutor(READERS) as pool:
        while chunk := list(itertools.islice(ids, CHUNK)):
            yield from (one for one in pool.map(lambda user_id: find_person(bucket, user_id), chunk) if one is not None)


def find_person(bucket: Bucket, user_id: str) -> Person | None:
    """Return the person of that id; None if nobody is known under it."""
    info = bucket.head(keys.model(user_id))
    if info is None or info.size > MOST_BYTES:
        return None
    try:
        model = UserModel.model_validate_json(bucket.get(info.key))
    except (MissingObject, ValidationError):
        return None
    if model.user_id != user_id:
        return None
    return Person(
        user_id,
        len(model.references),
        model.lora is not None,
        model.base_model,
        model.face_engine,
        model.request_id,
        info.modified,
    )


def count_photos_of_others(bucket: Bucket, known: Container[str]) -> Iterator[tuple[str, int]]:
    """Yield who is not known but has photos here, as after a failed or interrupted request, and how many."""
    for user_id in sorted(bucket.folders(keys.USERS)):
        if user_id not in known and (count := sum(1 for _ in bucket.list(keys.user_photos(user_id)))):
            yield user_id, count
