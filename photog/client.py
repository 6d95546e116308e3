"""The synchronous client: typed requests in, typed answers out."""

import base64
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack

from functions.check.request import CheckRequest
from functions.generate.request import GenerateRequest
from functions.train.request import TrainRequest
from photog.bucket_transport import BucketTransport
from photog.http_transport import HttpTransport
from photog.knobs import GenerateKnobs, TrainKnobs
from photog.transport import RequestFailed, Transport
from shared.contract.answers import (
    ANSWERS,
    Answer,
    AnswerData,
    CheckData,
    ErrorAnswer,
    GenerateData,
    ProgressData,
    ProgressEnvelope,
    TrainData,
)
from shared.contract.manifests import RUNNING, Json, is_canceled
from shared.contract.validation import Body, validate
from shared.operations.uploads import SignedUpload
from shared.settings import Settings

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks; each look that finds nothing new waits longer
MODELS: Mapping[str, type[Body]] = {"check": CheckRequest, "train": TrainRequest, "generate": GenerateRequest}

Data = TypeVar("Data", bound=AnswerData)
Metadata = Mapping[str, str | int | float | bool]
Picture = str | Path | bytes
"""A reference (a key of the bucket or a URL), or a file or its bytes, which the client uploads first."""


class Job(Generic[Data]):
    """A request that was sent.

    Attributes:
        function: check, train or generate.
        request_id: with the function, all that is needed to find the request again: `Client.find_job`.
    """

    def __init__(self, transport: Transport, function: str, request_id: str) -> None:
        self.function, self.request_id = function, request_id
        self._transport = transport

    def look(self) -> Json | None:
        """Return the answer or the progress as it came, with code OK, error or 502; None if there is neither yet."""
        return self._transport.look(self.function, self.request_id)

    def answer(self) -> Answer[Data] | None:
        """Return the answer, or None if there is none yet; raises RequestFailed if it is an error."""
        return read_answer(self.function, self.look())

    def progress(self, timeout_seconds: float = float("inf")) -> Iterator[ProgressData]:
        """Yield the progress whenever it has changed, until there is an answer. Raises TimeoutError."""
        watch = Watch(self.function, self.request_id, timeout_seconds)
        while not watch.is_answered(envelope := self.look()):
            if (news := watch.news(envelope)) is not None:
                yield news
            time.sleep(watch.pause())

    def wait(self, timeout_seconds: float = float("inf")) -> Answer[Data]:
        """Wait for the answer and return it. Raises RequestFailed if it is an error, and TimeoutError."""
        watch = Watch(self.function, self.request_id, timeout_seconds)
        while not watch.is_answered(envelope := self.look()):
            watch.news(envelope)
            time.sleep(watch.pause())
        answer: Answer[Data] | None = read_answer(self.function, envelope)
        assert answer is not None
        return answer

    def cancel(self) -> bool:
        """Cancel the request; return whether that came in time. Raises UnknownRequest if nobody sent it."""
        envelope = self._transport.cancel(self.function, self.request_id)
        return is_canceled(envelope)


class Watch:
    """What one caller has seen of a request, and how long it waits until the next look."""

    def __init__(self, function: str, request_id: str, timeout_seconds: float) -> None:
        self._told = f"{function} {request_id} was not answered in {timeout_seconds:.0f} s"
        self._until = time.monotonic() + timeout_seconds
        self._pause = FIRST_PAUSE
        self._last: ProgressData | None = None

    def is_answered(self, envelope: Json | None) -> bool:
        """Return whether the envelope is an answer; raises TimeoutError if it is none and the time is over."""
        if envelope is not None and envelope.get("code") != RUNNING:
            return True
        if time.monotonic() > self._until:
            raise TimeoutError(self._told)
        return False

    def news(self, envelope: Json | None) -> ProgressData | None:
        """Return the progress in an envelope if it differs from the last one."""
        found = None if envelope is None else ProgressEnvelope.model_validate(envelope).data
        if found is None or found == self._last:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return None
        self._last, self._pause = found, FIRST_PAUSE
        return found

    def pause(self) -> float:
        """Return the seconds until the next look."""
        return max(0.0, min(self._pause, self._until - time.monotonic()))


class Client:
    """photog as an application sees it. Thread-safe.

    A request is checked by the models that the workers use before it is sent: InvalidField names the field and the
    range, and for a misspelt knob the nearest one.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def open_bucket(cls, address: str, settings: Settings | None = None) -> "Client":
        """Return the client of a folder or of `s3://NAME[/PREFIX]`, on which workers run.

        Args:
            address: of the bucket.
            settings: None reads them from the environment, as workers do: `PHOTOG_S3__ENDPOINT` and the like.
        """
        return cls(BucketTransport.open(address, settings))

    @classmethod
    def open_server(cls, url: str, token: str, timeout_seconds: float = 60.0) -> "Client":
        """Return the client of a `photog serve`, as `https://portraits.example`; `timeout_seconds` is of each call."""
        return cls(HttpTransport(url, token, timeout_seconds))

    def check(
        self,
        images: Sequence[Picture],
        *,
        same_person: bool = False,
        user_id: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
    ) -> Job[CheckData]:
        """Ask which photos can be used, and with `same_person` whether all show one person.

        With a `user_id` the uploaded photos, the request and its answer go when this person is forgotten.
        """
        configure: Json = {"face_reconize": same_person} | ({} if user_id is None else {"user_id": user_id})
        body = {"images": [self._reference(one, user_id) for one in images], "configure": configure}
        return self._submit("check", body, request_id, metadata)

    def train(
        self,
        images: Sequence[Picture],
        user_id: str,
        *,
        request_id: str | None = None,
        metadata: Metadata | None = None,
        **knobs: Unpack[TrainKnobs],
    ) -> Job[TrainData]:
        """Train a LoRA of a person; uploaded photos go when this person is forgotten."""
        references = [self._reference(one, user_id) for one in images]
        return self._submit(
            "train", {"images": references, "configure": {"user_id": user_id, **knobs}}, request_id, metadata
        )

    def generate(
        self,
        template_image: Picture,
        *,
        user_id: str | Sequence[str | None] | None = None,
        references: Sequence[Picture] | Sequence[Sequence[Picture]] = (),
        request_id: str | None = None,
        metadata: Metadata | None = None,
        **knobs: Unpack[GenerateKnobs],
    ) -> Job[GenerateData]:
        """Ask for a portrait of people who are known by their ids, or by references.

        Args:
            template_image: the picture whose faces are replaced.
            user_id: one id, or one per face from left to right; "none" leaves a face as it is.
            references: pictures of a person who needs no training; for several people a list for each face.
            request_id: None makes one that nobody can guess.
            metadata: repeated in the answer, the event and the logs.
            knobs: of `configure`; `image_format` is "png" here unless another is given, so that answers stay small.
        """
        configure: Json = {"image_format": "png", **knobs}
        owner = user_id if isinstance(user_id, str) else None
        if user_id is not None:
            configure["user_id"] = user_id if isinstance(user_id, str) else list(user_id)
        if references:
            configure["references"] = [
                self._reference(person, owner)
                if isinstance(person, str | Path | bytes)
                else [self._reference(one) for one in person]
                for person in references
            ]
        body = {"template_image": self._reference(template_image), "configure": configure}
        return self._submit("generate", body, request_id, metadata)

    def find_job(self, function: str, request_id: str) -> Job[Any]:
        """Return the job of a request that was sent earlier, perhaps by another process."""
        return Job(self._transport, function, request_id)

    def list_requests(self, user_id: str) -> list[Json]:
        """Return `function`, `request_id` and `state` (waiting, running, ok, error) of a user's requests."""
        return self._transport.list_requests(user_id)

    def upload(self, picture: Path | bytes, *, suffix: str = ".jpg", user_id: str | None = None) -> str:
        """Store a picture and return its reference.

        Args:
            picture: a file, or its bytes.
            suffix: of the name of a picture that is given as bytes.
            user_id: whose picture it is: it goes when this user is forgotten.

        Raises PhotoUndecodable where a server looks at it, for bytes that begin like no picture.
        """
        data, ending = (picture.read_bytes(), picture.suffix) if isinstance(picture, Path) else (picture, suffix)
        return self._transport.upload(data, ending, user_id)

    def sign_upload(
        self,
        *,
        suffix: str = ".jpg",
        user_id: str | None = None,
        content_type: str = "image/jpeg",
        expires_seconds: int = 900,
    ) -> SignedUpload:
        """Return an upload that a browser can make by itself, straight to S3; raises NoSignedUploads for a folder."""
        return self._transport.sign_upload(suffix, user_id, content_type, expires_seconds)

    def read_picture(self, answer: Answer[GenerateData]) -> bytes:
        """Return the PNG of a portrait, wherever its answer has it."""
        data = answer.data
        return self.read(data.image_key) if data.image == data.image_key else base64.b64decode(data.image)

    def read(self, key: str) -> bytes:
        """Return an object that an answer names, such as `data.report` of a training."""
        return self._transport.read(key)

    def _reference(self, picture: Picture, user_id: str | None = None) -> str:
        return picture if isinstance(picture, str) else self.upload(picture, user_id=user_id)

    def _submit(self, function: str, body: Json, request_id: str | None, metadata: Metadata | None) -> Job[Any]:
        named: Json = {"request_id": request_id or f"{function}-{uuid.uuid4().hex}"} | body
        if metadata:
            named["metadata"] = dict(metadata)
        validate(MODELS[function], named | {"strict": True})
        return Job(self._transport, function, self._transport.submit(function, named))


def read_answer(function: str, envelope: Json | None) -> Answer[Any] | None:
    """Return a successful answer as a typed object, or None for progress and nothing; raises RequestFailed."""
    if envelope is None or envelope["code"] == RUNNING:
        return None
    if envelope["code"] == "error":
        raise RequestFailed(ErrorAnswer.model_validate(envelope))
    return ANSWERS[function].model_validate(envelope)
