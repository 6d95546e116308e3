"""Access to the functions' request models, so that a request can be validated before it is sent.

A function defines its request model in `request.py` beside the handler that its entry point names: `CheckRequest` for
check. That module imports no models and no packages of the function, so that loading it is cheap.
"""

from importlib import import_module
from importlib.metadata import entry_points

from shared.contract.manifests import Json
from shared.contract.validation import Body, validate

ENTRY_POINTS = "photog.functions"


def require_valid(function: str, body: Json) -> None:
    """Raise InvalidField if the function would refuse the body for its fields."""
    model = request_model(function)
    if model is not None:
        validate(model, body)


def request_model(function: str) -> type[Body] | None:
    """Return the function's request model; None if the function is not installed or has no model there."""
    for entry in entry_points(group=ENTRY_POINTS, name=function):
        name = f"{entry.module.rpartition('.')[0]}.request"
        try:
            found = getattr(import_module(name), f"{function.capitalize()}Request", None)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):
                raise
            return None  # an image has the metadata of all functions, and the code of some
        return found if isinstance(found, type) and issubclass(found, Body) else None
    return None
