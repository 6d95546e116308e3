"""What crosses the wire: request manifests in, answers and progress out.

A manifest is somebody else's text. What reading one may cost is bounded before it is read (see the constants), so that
20 MB of brackets, numbers or Python source take a second and a few hundred megabytes at the most.
"""

import ast
import hashlib
import json
import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidManifest, RequestError

REQUEST_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
USER_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}")  # . and .. would be no folder of their own
RUNNING = "502"  # the page's code for a request that is not done yet

DEEPEST = 64  # brackets within each other; the contract's deepest field has three
MOST_VALUES = 100_000  # in all; the contract's largest request has a hundred
LONGEST_LITERAL = 64 * 1024  # bytes of Python source: it is read at 200 bytes of memory each; samples have hundreds
LONGEST_MESSAGE = 2000  # characters of what an answer says went wrong
LONGEST_FIELD = 200
INVALID = re.compile(r"invalid-[0-9a-f]{12}")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

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
    if INVALID.fullmatch(str(identity)):
        raise InvalidManifest(
            "request_id must not be invalid- and 12 hex digits: manifests that cannot be read are answered under those",
            "request_id",
        )
    return Manifest(str(identity), body, canonical_hash(body))


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
        told["field"] = shortened(str(told["field"]), LONGEST_FIELD)
    return {
        "request_id": request_id,
        "code": "error",
        "message": shortened(error.message, LONGEST_MESSAGE),
        "data": data | {"error": told},
    }


def running(request_id: str, data: Json) -> Json:
    """The answer of a request that is not done yet; `data` holds stage, step, steps and eta_seconds."""
    return {"request_id": request_id, "code": RUNNING, "message": "running", "data": data}


def shortened(text: str, length: int) -> str:
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


def _object(text: bytes) -> Json:
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidManifest(f"the manifest is not UTF-8 text: {error.reason} at byte {error.start}") from error
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise InvalidManifest(f"the manifest has more than {MOST_VALUES} values, counted by commas and brackets")
    escaped = SURROGATE.search(text) is not None
    try:
        value = json.loads(decoded, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as not_json:
        value, escaped = _literal(decoded, not_json), True
    if not isinstance(value, dict):
        raise InvalidManifest(f"the manifest must be an object, not {type(value).__name__}")
    _check(value, escaped)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _too_deep() -> InvalidManifest:
    return InvalidManifest(f"the manifest is nested deeper than {DEEPEST} brackets")


def _check(value: Json, escaped: bool) -> None:
    """Refuse what could not be answered: deep nesting, infinite numbers, and strings that are no Unicode.

    Args:
        escaped: whether the text may hold surrogates at all; looking for them costs as much as reading it did.
    """
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        if not level:
            return
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
                if escaped:
                    below += one.keys()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, float) and not math.isfinite(one):
                raise InvalidManifest("the manifest has a number that is too large to be one")
            elif escaped and isinstance(one, str) and not _is_unicode(one):
                raise InvalidManifest("the manifest has half of a surrogate pair in a string, which is no Unicode")
        level = below
    if any(isinstance(one, dict | list) for one in level):
        raise _too_deep()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _literal(text: str, not_json: Exception) -> object:
    """Python-literal text; only what JSON can say too is accepted, so that the answer can echo it."""
    reason = f"the manifest is not JSON: {not_json}"
    source = text.strip()
    if len(source) > LONGEST_LITERAL:
        raise InvalidManifest(f"{reason}; as a Python literal it may have {LONGEST_LITERAL} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes: they would print the sender's text into our log
            value = ast.literal_eval(source)
        if isinstance(value, dict) and json.loads(json.dumps(value, allow_nan=False)) == value:
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidManifest(reason) from error
    raise InvalidManifest(reason)
