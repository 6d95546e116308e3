"""Validation of a request's body: errors that name field and range, warnings about unknown keys.

A mistaken request may contain a URL with a password anywhere, in values and in names. So an error shows a value only if
it is a number or a plain word, and whatever is repeated from the request goes through `strip_secrets`.
"""

from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from shared.contract.manifests import NOBODY, USER_ID, Json, encode, shorten
from shared.contract.meaning import without_nulls
from shared.contract.names import is_plain, show_name
from shared.contract.redaction import REDACTED, is_secret_name
from shared.contract.references import strip_secrets
from shared.errors import InvalidField

MOST_WARNINGS = 20  # of one kind in an answer; one more says how many were left out
LONGEST_WARNING = 200  # characters
LONGEST_ECHO = 64 * 1024  # bytes of a request that its answer repeats; beyond it long texts are cut
LONGEST_ECHOED_TEXT = 100  # characters left of a text in an echo that is too long
LONGEST_NUMBER = 20  # digits of a number in an error
OBJECTS = {"model_type", "model_attributes_type", "dataclass_type", "dict_type"}  # errors that mention Python's types


def user_id(value: str) -> str:
    """Return the user id unchanged; raises ValueError if it cannot be part of a key."""
    if not USER_ID.fullmatch(value):
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


def somebody(user_id: str) -> str:
    """Return the user id unchanged; raises ValueError for the one that stands for nobody."""
    if user_id == NOBODY:
        raise ValueError(f"{NOBODY} leaves a face as it is in generate, so it cannot be a user id: choose another one")
    return user_id


Reference = Annotated[str, StringConstraints(min_length=1)]
UserId = Annotated[
    str,
    AfterValidator(user_id),
    Field(json_schema_extra={"pattern": r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$"}),  # USER_ID, in JavaScript's syntax
]


class Body(BaseModel):
    """Base class of all request models: no coercion between types; unknown keys are kept for warnings."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


Model = TypeVar("Model", bound=Body)


def validate(model: type[Model], body: dict[str, Any]) -> tuple[Model, list[str]]:
    """Return the body as `model`, and a warning for each unknown key. A null counts as absent.

    Raises InvalidField for the first fault found, and for an unknown key where the request has `"strict": true`.
    """
    try:
        request = model.model_validate(without_nulls(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(show_name(str(part)) for part in first["loc"])
        given = "" if first["type"] == "missing" else f"; given was {_show_value(first['input'])}"
        raise InvalidField(f"{field}: {describe_errors(first)}{given}", field) from error
    unknown = _list_unknown(request)
    if unknown and getattr(request, "strict", False):
        raise InvalidField(f"{unknown[0]}: there is no such key{_suggest(request, unknown[0])}", unknown[0])
    return request, bound_text([f"unknown key {name} was ignored" for name in unknown])


def describe_errors(error: ErrorDetails) -> str:
    """Return what is wrong with a value in the sender's words, without names of our classes or of pydantic's."""
    if error["type"] in OBJECTS:
        return "Input should be an object, as in {}"
    return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _show_value(value: Any) -> str:
    """Return a value as an error may show it: numbers and plain words as they are, all else by kind and size."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return shorten(repr(value), LONGEST_NUMBER)
    if isinstance(value, str):
        return repr(value) if is_plain(value) else f"a text of {len(value)} characters"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return f"an object of {len(value)} keys" if isinstance(value, dict) else f"a {type(value).__name__}"


def bound_text(warnings: list[str]) -> list[str]:
    """Return the first warnings, each cut to a line, and how many more there were."""
    kept = [shorten(warning, LONGEST_WARNING) for warning in warnings[:MOST_WARNINGS]]
    more = len(warnings) - len(kept)
    return [*kept, f"and {more} more like these"] if more else kept


def echo(value: Json) -> tuple[Json, list[str]]:
    """Return what an answer repeats of its request, and a warning if that had to be cut.

    Secrets are removed. Up to `LONGEST_ECHO` bytes, the rest is repeated as it came; beyond that, long texts are cut,
    and fields that are still too large are left out.
    """
    value = {strip_secrets(name): _clean(one, name) for name, one in value.items()}
    if _size(value) <= LONGEST_ECHO:
        return value, []
    cut: Json = {name: _cut(one) for name, one in value.items()}
    for name in sorted(cut, key=lambda name: _size({name: cut[name]}), reverse=True):
        if _size(cut) <= LONGEST_ECHO:
            break
        cut[name] = None
    return cut, [f"the request is not repeated in full, because it has more than {LONGEST_ECHO} bytes"]


def _clean(value: Any, name: str = "") -> Any:
    """Return a value without secrets, at any depth and in names too; `name` is the value's own name."""
    if isinstance(value, str):
        return REDACTED if value and is_secret_name(name) else strip_secrets(value)
    if isinstance(value, list):
        return [_clean(one, name) for one in value]
    if isinstance(value, dict):
        return {strip_secrets(key): _clean(one, key) for key, one in value.items()}
    return value


def _size(value: Json) -> int:
    return len(encode(value))


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return shorten(value, LONGEST_ECHOED_TEXT)
    if isinstance(value, list):
        return [_cut(one) for one in value]
    if isinstance(value, dict):
        return {shorten(name, LONGEST_ECHOED_TEXT): _cut(one) for name, one in value.items()}
    return value


def _list_unknown(model: BaseModel, prefix: str = "") -> list[str]:
    names = [prefix + show_name(name) for name in model.model_extra or {}]
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            names += _list_unknown(value, f"{prefix}{name}.")
    return names


def _suggest(model: BaseModel, name: str) -> str:
    """Return the known key that is nearest to an unknown one, for an error; an empty text if none is near."""
    *rooms, written = name.split(".")
    for room in rooms:
        model = getattr(model, room)
    near = get_close_matches(written, type(model).model_fields, 1)
    return f"; did you mean {'.'.join([*rooms, near[0]])}?" if near else ""
