"""What the requests of all functions have in common: the id, the sender's metadata, strictness."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from shared.contract.manifests import Json
from shared.contract.validation import Body, echo

MOST_METADATA = 32  # members
LONGEST_METADATA_NAME = 64  # characters
LONGEST_METADATA_VALUE = 512  # characters of a text

MetadataName = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_METADATA_NAME)]
MetadataText = Annotated[str, StringConstraints(max_length=LONGEST_METADATA_VALUE)]
MetadataNumber = Annotated[float, Field(allow_inf_nan=False)]


def _require_few(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > MOST_METADATA:
        raise ValueError(f"{len(value)} members; there may be {MOST_METADATA}")
    return value


IfAnotherPerson = Annotated[
    Literal["warn", "refuse", "replace"],
    Field(description="what happens if the photos show somebody else than the person who is known under the user_id"),
]
RequestId = Annotated[
    str,
    Field(
        description="1 to 128 of A-Z a-z 0-9 . _ -",
        json_schema_extra={"pattern": r"^(?!\.)[A-Za-z0-9._-]{1,128}$"},  # REQUEST_ID, in JavaScript's syntax
    ),
]
Metadata = Annotated[
    dict[MetadataName, MetadataText | int | MetadataNumber | bool],
    AfterValidator(_require_few),
    Field(description="the sender's own names and values, repeated in the answer, the completion event and the logs"),
]
_METADATA: TypeAdapter[dict[str, Any]] = TypeAdapter(Metadata)


class Request(Body):
    """Base class of the functions' request models."""

    request_id: int | RequestId
    metadata: Metadata = Field({})
    strict: bool = Field(False, description="whether an unknown key is an error instead of a warning")


def read_metadata(body: Json) -> Json:
    """Return the metadata of a request as answers, events and logs repeat it: without secrets; empty if not valid.

    A request whose metadata is not valid is answered with InvalidField; its answer has none.
    """
    try:
        given = _METADATA.validate_python(body.get("metadata") or {}, strict=True)
    except ValidationError:
        return {}
    return echo(given)[0]
