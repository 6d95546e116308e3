"""What the page does with a bucket, for all viewers: it sends requests as applications do, and reads answers."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Literal

from pydantic import ValidationError

from page.drafts import Draft, Drafts
from page.following import Follower
from page.pictures import Pictures
from page.request_index import RequestIndex
from page.settings import PageSettings
from shared.buckets import Bucket, BucketError
from shared.contract import keys
from shared.contract.manifests import NOBODY, USER_ID, Json, is_canceled, parse
from shared.contract.users import UserModel
from shared.contract.validation import validate
from shared.errors import RequestError
from shared.lifecycle.claims import STALE_LEASES
from shared.operations.cancellation import Cancellation, UnknownRequest
from shared.operations.client import Client
from shared.operations.erasure import Erasure
from shared.operations.uploads import SUFFIX, store_photo
from shared.runtime.context import notifying
from shared.runtime.request_models import request_model
from shared.runtime.supervisor import Supervisor
from shared.settings import Settings

PICTURE = re.compile(r"\.(jpe?g|png|webp|avif|heic|heif)\Z", re.IGNORECASE)
MOST_TEMPLATES = 200  # of the bucket's folder that are shown
MOST_PEOPLE = 500
LARGEST_MODEL = 16 * 2**20  # bytes of a user's model
FEWEST_TO_TRAIN = 5


@dataclass(frozen=True)
class Person:
    """Somebody whom the bucket knows.

    Attributes:
        known: whether portraits can be made; not of somebody whose photos were uploaded for a request that failed.
        trained: whether a LoRA was trained.
        photos: keys of the close-ups that portraits are made from, or of the uploaded photos.
    """

    user_id: str
    known: bool
    trained: bool
    photos: tuple[str, ...]


@dataclass(frozen=True)
class Taker:
    """Who takes one face of a template.

    Attributes:
        user_id: None for somebody without a name, `none` for a face that stays as it is.
        photos: keys; empty for somebody whom the bucket knows.
    """

    user_id: str | None
    photos: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forgotten:
    """What an erasure has removed and left."""

    removed: list[str]
    remaining: list[str]
    faults: Mapping[str, str]


class Studio:
    """One bucket, as the page sees it.

    Args:
        supervisor: of the workers that belong to the page; None if others run them.
    """

    def __init__(
        self, bucket: Bucket, settings: Settings, page: PageSettings, supervisor: Supervisor | None = None
    ) -> None:
        self.bucket, self.settings, self.page, self.supervisor = bucket, settings, page, supervisor
        self.client = Client(bucket)
        self.follower = Follower(self.client, page)
        self.pictures = Pictures(bucket, settings.limits)
        self.index = RequestIndex(bucket, page, settings.health.presence_seconds, STALE_LEASES * settings.lease.seconds)
        self.drafts = Drafts(bucket)

    def add_picture(self, name: str, data: bytes, draft: Draft | None = None) -> str:
        """Put an uploaded picture into the bucket, named by its content, and return its key.

        Args:
            draft: whose photo it is; None for a template.

        Raises PhotoError if it is no picture.
        """
        self.pictures.require_picture(data)
        suffix = PurePath(name).suffix.lower()
        key = store_photo(
            self.bucket, data, suffix if SUFFIX.fullmatch(suffix) else "", draft=draft.name if draft else None
        )
        if draft is not None:
            self.drafts.note_photo(draft, key)
        return key

    def check(self, draft: Draft, photos: Sequence[str], same_person: bool = False) -> str:
        """Send a check of a tab's photos and return its id."""
        body: Json = {"images": list(photos)} | ({"configure": {"face_reconize": True}} if same_person else {})
        request_id = self._send("check", body)
        self.drafts.note_request(draft, "check", request_id, photos)
        return request_id

    def train(
        self, user_id: str, photos: Sequence[str], steps: int, if_another: Literal["refuse", "replace"] = "refuse"
    ) -> str:
        """Send a training and return its id.

        Args:
            if_another: what happens if the photos show somebody else than the person of this id.
        """
        configure = {
            "user_id": user_id,
            "another_person": if_another,
            "max_train_steps": steps,
            "val_save_checkpointing_steps": max(1, steps // 8),
        }
        return self._send("train", {"images": list(photos), "configure": configure})

    def find_faces(self, template: str) -> str:
        """Send a check of a template, whose answer has the boxes of its faces, and return its id."""
        return self._send("check", {"images": [template]})

    def portray(self, draft: Draft, template: str, people: Sequence[Taker], knobs: Json) -> tuple[str, Json]:
        """Send a request for one portrait; returns its id and its body.

        Args:
            draft: of the tab, whose photos are needed until the answer.
            people: who takes each face of the template, from left to right.
        """
        configure = dict(knobs) | {"image_format": "png"}
        if len(people) == 1:
            (only,) = people
            configure |= {"user_id": only.user_id} if only.user_id else {}
            configure |= {"references": list(only.photos)} if only.photos else {}
        else:
            configure["user_id"] = [one.user_id for one in people]
            if any(one.photos for one in people):
                configure["references"] = [list(one.photos) for one in people]
        if any(one.user_id and one.photos for one in people):
            configure["another_person"] = "refuse"
        body: Json = {"template_image": template, "configure": configure}
        request_id = self._send("generate", body)
        self.drafts.note_request(draft, "generate", request_id, [key for one in people for key in one.photos])
        return request_id, body

    def portray_replacing(self, draft: Draft, body: Json) -> tuple[str, Json]:
        """Send a request that was refused since its photos show somebody else, for them to replace the person."""
        configure = body["configure"] | {"another_person": "replace"}
        again = {"template_image": body["template_image"], "configure": configure}
        request_id = self._send("generate", again)
        self.drafts.note_request(draft, "generate", request_id, list(_flatten(configure.get("references", []))))
        return request_id, again

    def cancel(self, function: str, request_id: str) -> bool:
        """Stop a request that has no answer; returns whether it was stopped."""
        with notifying(self.bucket, self.settings) as hooks:
            try:
                answer = Cancellation(self.bucket, function, self.settings, hooks).cancel(request_id)
            except UnknownRequest as error:
                raise RequestError(str(error), "request_id") from error
        return is_canceled(answer)

    def retry(self, function: str, request_id: str, key: str) -> str:
        """Send the body of an answered request again, under a new id, which is returned."""
        body = dict(parse(self.bucket.get(key, self.settings.limits.manifest_bytes)).body)
        base = re.sub(r"-again-\d+\Z", "", request_id)[:110]
        for number in range(1, 1000):
            body["request_id"] = f"{base}-again-{number}"
            if self.bucket.head(keys.request(function, body["request_id"])) is None:
                self.client.submit(function, body)
                self.index.note(function, body["request_id"])
                return str(body["request_id"])
        raise RequestError("this request was sent again 999 times")

    def templates(self) -> list[str]:
        """Return keys of the pictures that the operators put into the bucket as templates."""
        found = (info.key for info in self.bucket.list(keys.TEMPLATES))
        return list(islice((key for key in found if PICTURE.search(key)), MOST_TEMPLATES))

    def people(self) -> list[Person]:
        """Return the people whom the bucket knows, by name; one whose record cannot be read is left out."""
        names = islice(self.bucket.folders(keys.USERS), MOST_PEOPLE)
        return [person for name in names if (person := self.person(name) or self._uploaded(name)) is not None]

    def _uploaded(self, user_id: str) -> Person | None:
        """Return somebody of whom there are photos alone, so that they can be forgotten too; None without any."""
        if not USER_ID.fullmatch(user_id):
            return None
        photos = tuple(info.key for info in islice(self.bucket.list(keys.user_photos(user_id)), MOST_TEMPLATES))
        return Person(user_id, False, False, photos) if photos else None

    def person(self, user_id: str) -> Person | None:
        """Return somebody; None if the bucket does not know them."""
        try:
            text = self.bucket.find(keys.model(user_id), LARGEST_MODEL)
            model = None if text is None else UserModel.model_validate_json(text)
        except (BucketError, ValidationError):
            return None
        if model is None or model.user_id != user_id:
            return None  # a record of somebody else, which no worker would use either
        photos = tuple(one.key for one in model.references)
        return Person(user_id, True, model.lora is not None, photos)

    def forget(self, user_id: str) -> Forgotten:
        """Remove everything of a person; the answer says what remains."""
        erasure = Erasure(self.bucket, self.settings.lease, named=self.settings.buckets)
        removed = erasure.forget(user_id)
        held = erasure.holdings(user_id)
        self.index.drop()
        return Forgotten(removed, held.remaining(), held.faults)

    def _send(self, function: str, body: Json) -> str:
        model = request_model(function)
        if model is not None:
            validate(model, {"request_id": function} | body)
        request_id = self.client.submit_named(function, body)
        self.index.note(function, request_id)
        return request_id


def _flatten(references: Sequence[str | Sequence[str]]) -> Iterator[str]:
    """Yield the keys of references, which are one list, or one list for each face."""
    for one in references:
        yield from [one] if isinstance(one, str) else one


def make_user_id(name: str) -> str:
    """Return the id for a person's name: its letters and digits without accents, joined by hyphens; may be empty.

    Where it has letters of other scripts, a hash keeps apart the names that have the same rest.
    """
    letters = [one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one)]
    made = re.sub(r"[^A-Za-z0-9._]+", "-", "".join(letters)).strip("-.").lower()
    if name.strip() and (not made or any(one.isalnum() and not one.isascii() for one in letters) or len(made) > 64):
        made = f"{made[:48].strip('-.') or 'person'}-{hashlib.sha256(name.strip().encode()).hexdigest()[:8]}"
    return made if made != NOBODY and USER_ID.fullmatch(made) else ""
