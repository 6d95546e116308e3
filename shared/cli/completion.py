"""What the shell completes: functions, knobs and their values."""

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from shared.contract.function import NAMES
from shared.runtime.request_models import request_model


def complete_functions(incomplete: str) -> list[str]:
    """Return the functions that begin with the text."""
    return [name for name in NAMES if name.startswith(incomplete)]


def complete_knobs(incomplete: str) -> list[str]:
    """Return `KNOB=` for the knobs of generate that begin with the text, or after the `=` the values that one has."""
    name, equals, value = incomplete.partition("=")
    knobs = list_knobs()
    if equals:
        return [f"{name}={one}" for one in knobs.get(name, []) if one.startswith(value)]
    return [f"{knob}=" for knob in knobs if knob.startswith(name)]


def list_knobs() -> dict[str, list[str]]:
    """Return the knobs of generate that `--set` may set, with their values if these are few."""
    model = request_model("generate")
    configure: Any = None if model is None else model.model_fields["configure"].annotation
    if not (isinstance(configure, type) and issubclass(configure, BaseModel)):
        return {}
    fields = configure.model_fields.items()
    return {name: _list_values(field.annotation) for name, field in fields if name not in ("user_id", "references")}


def _list_values(kind: Any) -> list[str]:
    """Return the values of a knob that has few of them."""
    if kind is bool:
        return ["false", "true"]
    return [str(one) for one in get_args(kind)] if get_origin(kind) is Literal else []
