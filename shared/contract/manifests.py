"""What crosses the wire: request manifests in, answers and progress out."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from shared.contract import manifest_text
from shared.contract.meaning import meant, meant_before
from shared.contract.visible import visible
from shared.errors import InvalidManifest, RequestError

REQUEST_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
USER_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}")  # . and .. would be no folder of their own
RUNNING = "502"  # the page's code for a request that is not done yet

LONGEST_MESSAGE = 2000  # characters of what an answer says went wrong
LONGEST_FIELD = 200
INVALID = re.compile(r"invalid-[0-9a-f]{12}")

Json = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A request as its sender wrote it.

    Attributes:
        request_id: as a string, fit for a key.
        body: the whole object, as it came.
        sha256: of what it means, so that two spellings of one body are the same.
        spellings: that hash, and those by which claims of earlier versions go.
        warnings: that belong into its answer, whatever that is.
        wrong: why it must not be served, where its id can be read all the same; else empty.
    """

    request_id: str
    body: Json
    sha256: str
    warnings: tuple[str, ...] = ()
    wrong: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Before, a knob at its default made another body; before that, a null and 777 beside "777" did, too."""
        return self.sha256, canonical_hash(meant_before(self.body, self.request_id)), canonical_hash(self.body)

    def warned(self, data: Json) -> Json:
        """The data of its answer with the warnings in it."""
        return data | {"warnings": [*self.warnings, *data.get("warnings", [])]} if self.warnings else data

    def require_right(self) -> None:
        """InvalidManifest where something is wrong with it."""
        if self.wrong:
            raise InvalidManifest(self.wrong)


def parse(text: bytes) -> Manifest:
    """Read a manifest: JSON, or the Python literal that the page's Java samples send.

    Raises InvalidManifest with the reason, also where the request_id is missing or unfit.
    """
    read = manifest_text.read_manifest_text(text)
    try:
        request_id = _request_id(read.body)
    except InvalidManifest as error:
        if read.wrong:
            raise InvalidManifest(read.wrong) from error
        raise
    # what is wrong with a text is no part of its object: sent again without it, it is another request
    sha256 = canonical_hash(meant(read.body, request_id)) if not read.wrong else hashlib.sha256(text).hexdigest()
    return Manifest(request_id, read.body, sha256, tuple(read.warnings), read.wrong)


def invalid_id(sha256: str) -> str:
    """The id under which a manifest that cannot be read is answered."""
    return f"invalid-{sha256[:12]}"


def is_invalid_id(request_id: str) -> bool:
    """Whether it stands for a manifest that could not be read; no request may be named so."""
    return INVALID.fullmatch(request_id) is not None


def canonical_hash(body: Json) -> str:
    """SHA-256 of the object with sorted keys and no white space."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def success(request_id: str, message: str, data: Json) -> Json:
    """The answer of a request that ran to its end."""
    return {"request_id": request_id, "code": "OK", "message": message, "data": data}


def failure(request_id: str, error: RequestError, data: Json) -> Json:
    """The answer of a request that could not be served; what it repeats of the request is cut to a bounded length."""
    told = error.as_dict()
    if "field" in told:
        told["field"] = shorten(visible(str(told["field"])), LONGEST_FIELD)
    message = "\n".join(map(visible, error.message.split("\n")))
    return {
        "request_id": request_id,
        "code": "error",
        "message": shorten(message, LONGEST_MESSAGE),
        "data": data | {"error": told},
    }


def running(request_id: str, data: Json) -> Json:
    """The answer of a request that is not done yet; `data` holds stage, step, steps and eta_seconds."""
    return {"request_id": request_id, "code": RUNNING, "message": "running", "data": data}


def shorten(text: str, length: int) -> str:
    """The text, or its beginning and three dots where it is longer than that."""
    return text if len(text) <= length else text[: length - 3] + "..."


def encode(envelope: Json) -> bytes:
    """An object as bytes; ValueError or TypeError for what JSON cannot say."""
    return json.dumps(envelope, ensure_ascii=False, indent=1, allow_nan=False).encode()


def decode(text: bytes) -> Json:
    """An object that we wrote ourselves; ValueError for whatever stands in its place."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested deeper than anything of ours") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is no object but a {type(value).__name__}")
    return value


def _request_id(body: Json) -> str:
    identity = body.get("request_id")
    if identity is None:
        raise InvalidManifest("the manifest has no request_id; add one, a string or a number", "request_id")
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        given = manifest_text.name_kind(identity)
        raise InvalidManifest(f"request_id must be a string or a whole number, not {given}", "request_id")
    request_id = str(identity)
    if not REQUEST_ID.fullmatch(request_id):
        raise InvalidManifest("request_id must be 1 to 128 of A-Z a-z 0-9 . _ - and not start with a dot", "request_id")
    if is_invalid_id(request_id):
        raise InvalidManifest(
            "request_id must not be invalid- and 12 hex digits: manifests that cannot be read are answered under those",
            "request_id",
        )
    return request_id
