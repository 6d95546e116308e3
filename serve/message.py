"""The record of a put in the bucket: `queue/<service>/<uuid>`, a line of JSON and then the bytes that were put.

The record is written before the put is accepted and deleted when its entry is consumed; `sink` marks it as answered.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import REQUEST_ID, Json
from shared.contract.validation import describe_errors
from shared.errors import PhotogError

LARGEST_INDEX = 2**62  # of a record that is read; well below SQLite's largest integer
LARGEST_COUNTED = 2**61  # of indexes that ours continue after, or a forged record would leave no index for any other
LARGEST_PRIORITY = 2**63 - 1
LONGEST_HEADER = 1024 * 1024  # bytes; the tags come in a URL, which the server limits to far less


Index = Annotated[int, Field(ge=1, le=LARGEST_INDEX)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class NotAMessage(PhotogError):
    """Raised for an object below `queue/<service>/` that is not a record, or not the record that its key names."""


class Message(BaseModel):
    """The record of a put, without the bytes that were put.

    Attributes:
        source: its index in the input queue; None if it was put into the sink.
        sink: its index in the sink; None until it is answered.
        tags: as the sender gave them, with `requestId` and the time.
        request_id, sha256: of the request in its body; None if the body is not a request.
        picture: the form in which the request wants its portrait.
        accepted: seconds since 1970 on the server's clock, for people, metrics and the age of the backlog.
        error: the answer, if no worker is needed; if the body is not a request it is known before it is given.
        inline: whether the record's bytes are themselves the entry of the sink.
    """

    model_config = ConfigDict(frozen=True)

    uuid: str
    service: str
    source: Index | None = None
    sink: Index | None = None
    tags: dict[str, str]
    priority: int = Field(0, ge=-LARGEST_PRIORITY, le=LARGEST_PRIORITY)
    request_id: str | None = None
    sha256: str | None = None
    picture: Literal["base64", "png"] = "base64"
    accepted: Seconds
    answered: Seconds | None = None
    error: Json | None = None
    inline: bool = False

    @model_validator(mode="after")
    def _is_an_entry(self) -> Self:
        if self.source is None and self.sink is None:
            raise ValueError("it has no place in any queue")
        if self.request_id is not None and not REQUEST_ID.fullmatch(self.request_id):
            raise ValueError("its request_id cannot be one")
        return self

    @property
    def key(self) -> str:
        """The key of the record."""
        return message_key(self.service, self.uuid)


def message_key(service: str, uuid: str) -> str:
    """Return the key of a put's record."""
    return f"{prefix(service)}{uuid}"


def prefix(service: str) -> str:
    """Return the prefix of all records of a service."""
    return keys.messages(service)


def encode_message(record: Message, body: bytes) -> bytes:
    """Return the object that holds a record and its bytes."""
    return record.model_dump_json(exclude_none=True).encode() + b"\n" + body


def decode_message(data: bytes) -> tuple[Message, bytes]:
    """Return the record in an object, and its bytes. Raises NotAMessage."""
    header, _, body = data.partition(b"\n")
    return _read(header), body


def read_header(bucket: Bucket, key: str) -> Message:
    """Read the record at a key, but not the bytes behind it. Raises MissingObject and NotAMessage."""
    read = b""
    for piece in bucket.stream(key):
        read += piece
        if b"\n" in piece or len(read) > LONGEST_HEADER:
            break
    record = _read(read.partition(b"\n")[0])
    if record.key != key:
        raise NotAMessage(f"it says that it is {record.key}")
    if "requestId" not in record.tags:
        raise NotAMessage("it has no tag requestId")
    return record


def _read(header: bytes) -> Message:
    try:
        return Message.model_validate_json(header)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise NotAMessage(
            f"{'.'.join(map(str, first['loc'])) or 'its first line'}: {describe_errors(first)}"
        ) from error
