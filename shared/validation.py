"""From a request's body to its typed model: errors that name field and range, warnings for keys that nobody knows."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from shared.errors import InvalidField
from shared.manifests import USER_ID


def _user_id(value: str) -> str:
    if not USER_ID.fullmatch(value):
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


Reference = Annotated[str, StringConstraints(min_length=1)]
UserId = Annotated[str, AfterValidator(_user_id)]


class Body(BaseModel):
    """Base of all request models: no coercion between types, unknown keys are kept for a warning."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


Model = TypeVar("Model", bound=Body)


def validate(model: type[Model], body: dict[str, Any]) -> tuple[Model, list[str]]:
    """The body as `model`, and a warning for each key that it does not know.

    Raises InvalidField for the first thing that is wrong.
    """
    try:
        request = model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        given = repr(first["input"])
        shown = given if len(given) <= 80 else given[:77] + "..."
        raise InvalidField(f"{field}: {first['msg']}; given was {shown}", field) from error
    return request, [f"unknown key {name} was ignored" for name in _unknown(request)]


def _unknown(model: BaseModel, prefix: str = "") -> list[str]:
    names = [prefix + name for name in model.model_extra or {}]
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            names += _unknown(value, f"{prefix}{name}.")
    return names
