"""One put as the bucket holds it: `queue/<service>/<uuid>`, a line of JSON and then the bytes that were put.

The record is written before the put is accepted and deleted when its entry is consumed; `sink` marks it as answered.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.buckets.base import Bucket
from shared.manifests import Json

LONGEST_HEADER = 1024 * 1024  # bytes; tags come in a URL, which the server bounds far below


class Record(BaseModel):
    """Everything of a put but its bytes.

    Attributes:
        source: its index in the input queue; None for what was put into the sink.
        sink: its index in the sink; None while it is not answered.
        tags: as the sender gave them, with `requestId` and the time.
        request_id, sha256: of the request in its body; None where the body is no request.
        picture: how the request wants its portrait.
        accepted: seconds since 1970 on the server's clock; for people, metrics and the age of a backlog.
        error: the answer, where no worker has to say anything.
        inline: whether the bytes of the record are the sink's entry themselves.
    """

    model_config = ConfigDict(frozen=True)

    uuid: str
    service: str
    source: int | None = None
    sink: int | None = None
    tags: dict[str, str]
    priority: int = 0
    request_id: str | None = None
    sha256: str | None = None
    picture: Literal["base64", "png"] = "base64"
    accepted: float
    answered: float | None = None
    error: Json | None = None
    inline: bool = False

    @property
    def key(self) -> str:
        """Where the record lies."""
        return record_key(self.service, self.uuid)


def record_key(service: str, uuid: str) -> str:
    """Where the record of a put lies."""
    return f"{prefix(service)}{uuid}"


def prefix(service: str) -> str:
    """What the keys of all records of a service begin with."""
    return f"queue/{service}/"


def encoded(record: Record, body: bytes) -> bytes:
    """The object."""
    return record.model_dump_json(exclude_none=True).encode() + b"\n" + body


def decoded(data: bytes) -> tuple[Record, bytes]:
    """A record and its bytes."""
    header, _, body = data.partition(b"\n")
    return Record.model_validate_json(header), body


def header(bucket: Bucket, key: str) -> Record:
    """The record at a key without reading all of its bytes; MissingObject."""
    read = b""
    for piece in bucket.stream(key):
        read += piece
        if b"\n" in piece or len(read) > LONGEST_HEADER:
            break
    return Record.model_validate_json(read.partition(b"\n")[0])
