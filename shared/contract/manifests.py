"""Request manifests coming in, answers and progress going out."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from shared.contract import manifest_text
from shared.contract.meaning import meant, meant_before
from shared.contract.visible import visible
from shared.errors import InvalidManifest, RequestCanceled, RequestError

REQUEST_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
USER_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}")  # . and .. cannot be folder names
NOBODY = "none"  # in place of a user id, leaves a face as it is; no user has this id
CONTRACT = "1.0"  # of what crosses the wire, see docs/compatibility.md; a new member raises the second number
RUNNING = "502"  # the hosted product's code for a request that is not done yet

LONGEST_MESSAGE = 2000  # characters of an error message in an answer
LONGEST_FIELD = 200
INVALID = re.compile(r"invalid-[0-9a-f]{12}")

Json = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A request as its sender wrote it.

    Attributes:
        request_id: as a string, fit for a key.
        body: the whole object, as it came.
        sha256: hash of the body's meaning, so that two spellings of one body are the same.
        spellings: that hash, and the hashes that earlier versions wrote into claims.
        warnings: to include in its answer, whatever that is.
        wrong: why it must not be served although its id can be read; empty if nothing is wrong.
    """

    request_id: str
    body: Json
    sha256: str
    warnings: tuple[str, ...] = ()
    wrong: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Earlier versions also hashed knobs at their defaults; the first ones also nulls, and 777 apart from "777"."""
        return self.sha256, canonical_hash(meant_before(self.body, self.request_id)), canonical_hash(self.body)

    def add_warnings(self, data: Json) -> Json:
        """Return the data of its answer with the warnings added."""
        return data | {"warnings": [*self.warnings, *data.get("warnings", [])]} if self.warnings else data

    def require_right(self) -> None:
        """Raise InvalidManifest if something is wrong with it."""
        if self.wrong:
            raise InvalidManifest(self.wrong)


def parse(text: bytes) -> Manifest:
    """Read a manifest: JSON, or the Python literal that the hosted product's Java samples send.

    Raises InvalidManifest with the reason, also if the request_id is missing or invalid.
    """
    read = manifest_text.read_manifest_text(text)
    try:
        request_id = _request_id(read.body)
    except InvalidManifest as error:
        if read.wrong:
            raise InvalidManifest(read.wrong) from error
        raise
    # the object does not contain the damaged part of its text: sent again without damage, it is another request
    sha256 = canonical_hash(meant(read.body, request_id)) if not read.wrong else hashlib.sha256(text).hexdigest()
    return Manifest(request_id, read.body, sha256, tuple(read.warnings), read.wrong)


def invalid_id(sha256: str) -> str:
    """Return the id under which an unreadable manifest is answered."""
    return f"invalid-{sha256[:12]}"


def is_invalid_id(request_id: str) -> bool:
    """Return whether the id stands for an unreadable manifest; no request may have such an id."""
    return INVALID.fullmatch(request_id) is not None


def canonical_hash(body: Json) -> str:
    """Return the SHA-256 of the object's JSON with sorted keys and no white space."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def success(request_id: str, message: str, data: Json, metadata: Json | None = None) -> Json:
    """Return the answer to a request that ran to its end; `metadata` is what it repeats of the request's."""
    return _envelope(request_id, "OK", message, data, metadata)


def failure(request_id: str, error: RequestError, data: Json, metadata: Json | None = None) -> Json:
    """Return the answer to a request that could not be served; text that it repeats from the request is shortened."""
    told = error.as_dict()
    if "field" in told:
        told["field"] = shorten(visible(str(told["field"])), LONGEST_FIELD)
    message = "\n".join(map(visible, error.message.split("\n")))
    return _envelope(request_id, "error", shorten(message, LONGEST_MESSAGE), data | {"error": told}, metadata)


def running(request_id: str, data: Json) -> Json:
    """Return the envelope of a request that is not done yet; `data` has stage, step, steps and eta_seconds."""
    return _envelope(request_id, RUNNING, "running", data, None)


def is_canceled(envelope: Json) -> bool:
    """Return whether an answer says that its request was canceled."""
    error = envelope["data"].get("error")
    return isinstance(error, dict) and error.get("type") == RequestCanceled.__name__


def _envelope(request_id: str, code: str, message: str, data: Json, metadata: Json | None) -> Json:
    told = {"metadata": metadata} if metadata else {}
    return {"request_id": request_id, "code": code, "message": message, "contract": CONTRACT, "data": data} | told


def shorten(text: str, length: int) -> str:
    """Return the text, cut to `length` characters with three dots at the end if it is longer."""
    return text if len(text) <= length else text[: length - 3] + "..."


def encode(envelope: Json) -> bytes:
    """Encode an object as JSON; raises ValueError or TypeError for values that JSON cannot express."""
    return json.dumps(envelope, ensure_ascii=False, indent=1, allow_nan=False).encode()


def decode(text: bytes) -> Json:
    """Decode an object that photog wrote itself; raises ValueError for anything else."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested deeper than anything that photog writes") from error
    if not isinstance(value, dict):
        raise ValueError(f"it must be an object, not a {type(value).__name__}")
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
            "request_id must not be invalid- and 12 hex digits: unreadable manifests are answered under such ids",
            "request_id",
        )
    return request_id
