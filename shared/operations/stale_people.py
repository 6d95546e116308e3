"""People whose model was made for another base model or face engine than portraits use now, and their retraining.

| a stale person | what portraits do until then | what retrains them |
|---|---|---|
| trained for another base model | leave the LoRA out, with a warning | the same request again, under a new id |
| with face vectors of another engine | measure the photos anew each time | the same; without a LoRA it keeps photos |

A retraining's id follows from the person, from the request that made the present model and from what it is made for.
So asking twice makes one request, and once it has made a model, the next change of the base model makes another.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.buckets.base import Bucket, BucketError, InvalidKey, StoreUnavailable
from shared.contract import keys
from shared.contract.data_urls import is_embedded
from shared.contract.manifests import Json, canonical_hash, parse
from shared.contract.users import MOST_BYTES, UserModel
from shared.errors import PhotogError, RequestError, TooFewPhotos
from shared.lifecycle.claims import Claims
from shared.operations.client import Client
from shared.operations.people import Person
from shared.settings import Lease

FEWEST_PHOTOS = 5  # of a training, as in a train request
FORGOTTEN = "was forgotten meanwhile"
MOST_TRIES = 100  # retrainings of one model that failed, each under an id of its own


class NotRetrainable(PhotogError):
    """Nothing is kept that a training could begin with; the message says what to do."""


@dataclass(frozen=True)
class StalePerson:
    """A person whose model is not the one to make now.

    Attributes:
        base_model: that the LoRA is not of; None if that is not what is wrong.
        face_engine: that the face vectors are not of; None likewise.
    """

    person: Person
    base_model: str | None
    face_engine: str | None

    def explain(self) -> str:
        """Return what is wrong, for people."""
        told = []
        if self.base_model is not None:
            told.append(f"trained on {self.person.base_model}, not {self.base_model}: portraits leave the LoRA out")
        if self.face_engine is not None:
            told.append(f"face vectors of {self.person.face_engine}, not {self.face_engine}: measured anew each time")
        return "; ".join(told)


@dataclass(frozen=True)
class Retraining:
    """The request that would bring a stale person up to date.

    Attributes:
        source: where its photos come from, for people.
        state: `none` before it is asked for, then `waiting`, `running`, or `error` with too many tries.
    """

    request_id: str
    body: Json
    source: str
    state: str


def find_stale(people: Iterable[Person], base_model: str, face_engine: str) -> Iterator[StalePerson]:
    """Yield those of the people who are stale.

    Args:
        base_model, face_engine: names of those that portraits are made with.
    """
    for one in people:
        other_base = base_model if one.trained and one.base_model != base_model else None
        other_engine = face_engine if one.face_engine != face_engine else None
        if other_base is not None or other_engine is not None:
            yield StalePerson(one, other_base, other_engine)


def plan_retraining(bucket: Bucket, stale: StalePerson) -> Retraining:
    """Return the request that retrains a person, and how far it is; nothing is written.

    Raises NotRetrainable.
    """
    person, client = stale.person, Client(bucket)
    made_for = [person.user_id, person.request_id, stale.base_model, stale.face_engine]
    name = f"retrain-{canonical_hash({'for': made_for})[:16]}"
    lacks_photos = False
    for number in range(1, MOST_TRIES):
        request_id = name if number == 1 else f"{name}-{number}"
        answer = client.answer("train", request_id)
        if answer is None:
            given = None if lacks_photos else _find_request(bucket, person)
            body, source = given or _use_close_ups(bucket, person)
            return Retraining(request_id, {"request_id": request_id} | body, source, _state(bucket, request_id))
        lacks_photos = lacks_photos or _lacks_photos(answer)
    return Retraining(name, {}, f"its photos, {MOST_TRIES} times", "error")


def retrain(bucket: Bucket, planned: Retraining) -> bool:
    """Ask for a retraining, unless somebody has done so; returns whether this call did.

    Raises NotRetrainable if the person was forgotten meanwhile: then the request is withdrawn.
    """
    if planned.state != "none":
        return False
    client = Client(bucket)
    client.submit("train", planned.body)
    if bucket.head(keys.model(planned.body["configure"]["user_id"])) is None:  # looked at last: erasure comes before it
        client.withdraw("train", planned.request_id)
        raise NotRetrainable(FORGOTTEN)
    return True


def _lacks_photos(answer: Json) -> bool:
    """Return whether a training failed because too few of its photos could be had, such as behind expired links."""
    error = answer["data"].get("error")
    return isinstance(error, dict) and error.get("type") == TooFewPhotos.__name__


def _state(bucket: Bucket, request_id: str) -> str:
    if bucket.head(keys.request("train", request_id)) is None:
        return "none"
    return "running" if any(True for _ in bucket.list(keys.claims("train", request_id))) else "waiting"


def _find_request(bucket: Bucket, person: Person) -> tuple[Json, str] | None:
    """Return the body of the request that made the model, without its id; None if it or one of its photos is gone."""
    first = Claims(bucket, "train", Lease(), "retraining").first(person.request_id)
    key = first.manifest if first is not None and first.manifest else keys.request("train", person.request_id)
    try:
        text = bucket.find(key)
        body = parse(text).body if text is not None else {}
    except StoreUnavailable:
        raise
    except (BucketError, RequestError):
        return None
    images, configure = body.get("images"), body.get("configure")
    if not (isinstance(configure, dict) and configure.get("user_id") == person.user_id and isinstance(images, list)):
        return None
    if not images or not all(isinstance(one, str) and _may_exist(bucket, one) for one in images):
        return None
    kept = {name: value for name, value in body.items() if name != "request_id"}
    return kept, f"the {len(images)} photos of its request {person.request_id}"


def _may_exist(bucket: Bucket, reference: str) -> bool:
    """Return whether a picture is there, as far as that is known without fetching it."""
    if "://" in reference or is_embedded(reference):
        return True
    try:
        return bucket.head(reference) is not None
    except InvalidKey:
        return False


def _use_close_ups(bucket: Bucket, person: Person) -> tuple[Json, str]:
    """Return a request of the faces that the model keeps, which are there as long as the person is."""
    text = bucket.find(keys.model(person.user_id), MOST_BYTES)
    if text is None:
        raise NotRetrainable(FORGOTTEN)
    references = [one.key for one in UserModel.model_validate_json(text).references]
    if person.trained and len(references) < FEWEST_PHOTOS:
        raise NotRetrainable(
            f"its photos are gone, and {len(references)} close-ups are too few to train on; send new photos"
        )
    configure: Json = {"user_id": person.user_id}
    if not person.trained:
        configure["max_train_steps"] = 0
    return {"images": references, "configure": configure}, f"the {len(references)} close-ups that are kept"
