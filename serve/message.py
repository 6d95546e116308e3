"""One put as the bucket holds it: `queue/<service>/<uuid>`, a line of JSON and then the bytes that were put.

The record is written before the put is accepted and deleted when its entry is consumed; `sink` marks it as answered.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import REQUEST_ID, Json
from shared.contract.validation import describe_errors
from shared.errors import PhotogError

LARGEST_INDEX = 2**62  # far from where SQLite's integers end
LARGEST_PRIORITY = 2**63 - 1
LONGEST_HEADER = 1024 * 1024  # bytes; tags come in a URL, which the server bounds far below


Index = Annotated[int, Field(ge=1, le=LARGEST_INDEX)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class NotAMessage(PhotogError):
    """An object below `queue/<service>/` that is no record of a put, or not the one that its key names."""


class Message(BaseModel):
    """Everything of a put but its bytes.

    Attributes:
        source: its index in the input queue; None for what was put into the sink.
        sink: its index in the sink; None while it is not answered.
        tags: as the sender gave them, with `requestId` and the time.
        request_id, sha256: of the request in its body; None where the body is no request.
        picture: how the request wants its portrait.
        accepted: seconds since 1970 on the server's clock; for people, metrics and the age of a backlog.
        error: the answer, where no worker has to say anything; known before it is given where the body is no request.
        inline: whether the bytes of the record are the sink's entry themselves.
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
        """Where the record lies."""
        return message_key(self.service, self.uuid)


def message_key(service: str, uuid: str) -> str:
    """Where the record of a put lies."""
    return f"{prefix(service)}{uuid}"


def prefix(service: str) -> str:
    """What the keys of all records of a service begin with."""
    return keys.messages(service)


def encode_message(record: Message, body: bytes) -> bytes:
    """The object."""
    return record.model_dump_json(exclude_none=True).encode() + b"\n" + body


def decode_message(data: bytes) -> tuple[Message, bytes]:
    """A record and its bytes; NoRecord."""
    header, _, body = data.partition(b"\n")
    return _read(header), body


def read_header(bucket: Bucket, key: str) -> Message:
    """The record at a key without reading all of its bytes; MissingObject, NoRecord."""
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
