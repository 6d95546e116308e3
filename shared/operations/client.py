"""An application's view of a bucket: upload pictures, submit requests, wait for answers."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import Json, canonical_hash, encode, parse
from shared.errors import ConflictingRequest
from shared.lifecycle.answers import read_outgoing_answer
from shared.operations.people import find_person

POLL_SECONDS = 0.25
MOST_STEPS = 10**9  # of a request's progress; with more it is none of photog's, and no float may have room for them


class _Figures(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, float]

    stage: str
    step: int = Field(ge=0, lt=MOST_STEPS)
    steps: int = Field(ge=0, lt=MOST_STEPS)
    eta_seconds: float | None = None


class _Progress(BaseModel):
    data: _Figures


@dataclass(frozen=True)
class Client:
    """A sender's view of one bucket."""

    bucket: Bucket

    def reference(self, photo: str, user_id: str | None = None) -> str:
        """Return a picture's reference for a manifest: a local file is copied into the bucket, others stay as given.

        Args:
            photo: a file, a URL, a key, or an embedded picture.
            user_id: whose picture it is: it goes when this person is forgotten. None for a picture of nobody known.
        """
        path = Path(photo).expanduser()
        if "://" in photo or photo.startswith("data:") or not path.is_file():
            return photo
        data = path.read_bytes()
        folder = keys.PHOTOS if user_id is None else keys.user_photos(user_id)
        key = f"{folder}{hashlib.sha256(data).hexdigest()[:16]}{path.suffix.lower()}"
        self.bucket.put(key, data)  # also if it is there: an old one may expire before the request that will name it
        return key

    def submit(self, function: str, body: Json) -> str:
        """Write a manifest and return the request's id.

        Submitting the same request twice makes one request; another body under the same id raises ConflictingRequest.
        """
        manifest = parse(encode(body))
        key = keys.request(function, manifest.request_id)
        if not self.bucket.put_if_absent(key, encode(body)):
            there = parse(self.bucket.get(key))
            if there.sha256 != manifest.sha256:
                raise ConflictingRequest(f"{key} exists with another body; choose another request_id", "request_id")
        return manifest.request_id

    def submit_named(self, function: str, body: Json) -> str:
        """Submit a body without an id under an id derived from it, so that submitting it again finds the same answer.

        A body that was answered with an error before is submitted as a new request, and so is a training whose user
        is served by another one since.
        """
        for again in range(1, 1000):
            named = {
                "request_id": f"{function}-{canonical_hash(body)[:12]}" + (f"-{again}" if again > 1 else "")
            } | body
            answer = self.answer(function, named["request_id"])
            if answer is None or (answer["code"] == "OK" and self._still_serves(function, answer)):
                return self.submit(function, named)
        raise ConflictingRequest("this request failed 999 times; read its answers", "request_id")

    def _still_serves(self, function: str, answer: Json) -> bool:
        """Return whether an answer is still in force; that of a training is not once another has taken its user."""
        if function != "train":
            return True
        person = find_person(self.bucket, str(answer["data"].get("user_id")))
        return person is None or person.request_id == answer["request_id"]

    def withdraw(self, function: str, request_id: str) -> None:
        """Remove a request that nobody waits for any more and all that is stored for it; an answered one stays."""
        self.bucket.delete(keys.request(function, request_id))  # first, so that no worker begins it again
        if self.bucket.head(keys.result(function, request_id)) is not None:
            return
        self.bucket.delete(keys.progress(function, request_id))
        for folder in (keys.result_folder(function, request_id), keys.claims(function, request_id)):
            for info in list(self.bucket.list(folder)):
                self.bucket.delete(info.key)

    def answer(self, function: str, request_id: str) -> Json | None:
        """Return the answer without measurements of faces, or None while there is none.

        Raises DamagedAnswer if something else is in its place.
        """
        key = keys.result(function, request_id)
        text = self.bucket.find(key)
        return None if text is None else read_outgoing_answer(key, request_id, text)

    def progress(self, function: str, request_id: str) -> Json | None:
        """Return a running request's progress: stage, step, steps, eta_seconds; None if there is none that is ours."""
        text = self.bucket.find(keys.progress(function, request_id))
        if text is None:
            return None
        try:
            return _Progress.model_validate_json(text).data.model_dump()
        except ValidationError:
            return None

    def wait(
        self,
        function: str,
        request_id: str,
        on_progress: Callable[[Json | None], None] = lambda progress: None,
        timeout_seconds: float = float("inf"),
    ) -> Json:
        """Poll until the answer exists and return it; `on_progress` is called at every poll. Raises TimeoutError."""
        until = time.monotonic() + timeout_seconds
        while (answer := self.answer(function, request_id)) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{function} {request_id} was not answered in {timeout_seconds:.0f} s")
            on_progress(self.progress(function, request_id))
            time.sleep(POLL_SECONDS)
        return answer
