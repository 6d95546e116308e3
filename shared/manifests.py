"""What crosses the wire: request manifests in, answers and progress out."""

import ast
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidManifest, RequestError

REQUEST_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
USER_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}")  # . and .. would be no folder of their own
RUNNING = "502"  # the page's code for a request that is not done yet

Json = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A request as its sender wrote it.

    Attributes:
        request_id: as a string, fit for a key.
        body: the whole object, as it came.
        sha256: of the canonical form, so that two spellings of one body are the same.
    """

    request_id: str
    body: Json
    sha256: str


def parse(text: bytes) -> Manifest:
    """Read a manifest: JSON, or the Python literal that the page's Java samples send.

    Raises InvalidManifest with the reason, also where the request_id is missing or unfit.
    """
    body = _object(text)
    if "request_id" not in body:
        raise InvalidManifest("the manifest has no request_id; add one, a string or a number", "request_id")
    identity = body["request_id"]
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise InvalidManifest(
            f"request_id must be a string or a whole number, not {type(identity).__name__}", "request_id"
        )
    if not REQUEST_ID.fullmatch(str(identity)):
        raise InvalidManifest("request_id must be 1 to 128 of A-Z a-z 0-9 . _ - and not start with a dot", "request_id")
    return Manifest(str(identity), body, canonical_hash(body))


def complete(text: bytes) -> bool:
    """Whether the text already is a whole object; the beginning of one never is."""
    try:
        _object(text)
    except InvalidManifest:
        return False
    return True


def invalid_id(sha256: str) -> str:
    """The id under which a manifest that cannot be read is answered."""
    return f"invalid-{sha256[:12]}"


def canonical_hash(body: Json) -> str:
    """SHA-256 of the object with sorted keys and no white space."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def success(request_id: str, message: str, data: Json) -> Json:
    """The answer of a request that ran to its end."""
    return {"request_id": request_id, "code": "OK", "message": message, "data": data}


def failure(request_id: str, error: RequestError, data: Json) -> Json:
    """The answer of a request that could not be served."""
    return {
        "request_id": request_id,
        "code": "error",
        "message": error.message,
        "data": data | {"error": error.as_dict()},
    }


def running(request_id: str, data: Json) -> Json:
    """The answer of a request that is not done yet; `data` holds stage, step, steps and eta_seconds."""
    return {"request_id": request_id, "code": RUNNING, "message": "running", "data": data}


def encode(envelope: Json) -> bytes:
    """An object as bytes; ValueError or TypeError for what JSON cannot say."""
    return json.dumps(envelope, ensure_ascii=False, indent=1, allow_nan=False).encode()


def decode(text: bytes) -> Json:
    """An object that we wrote ourselves."""
    value: Json = json.loads(text)
    return value


def _object(text: bytes) -> Json:
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidManifest(f"the manifest is not UTF-8 text: {error.reason} at byte {error.start}") from error
    try:
        value = json.loads(decoded, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as not_json:
        value = _literal(decoded, not_json)
    if not isinstance(value, dict):
        raise InvalidManifest(f"the manifest must be an object, not {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _literal(text: str, not_json: Exception) -> object:
    """Python-literal text; only what JSON can say too is accepted, so that the answer can echo it."""
    reason = f"the manifest is not JSON: {not_json}"
    try:
        value = ast.literal_eval(text.strip())
        if isinstance(value, dict) and json.loads(json.dumps(value, allow_nan=False)) == value:
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidManifest(reason) from error
    raise InvalidManifest(reason)
