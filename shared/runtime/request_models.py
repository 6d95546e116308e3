"""What a function's requests look like, for whoever wants to know before one is sent.

A function has its request's model in `request.py` beside the handler that its entry point names: `CheckRequest` of
check. That module imports no models and no packages of the function, so that asking costs nothing.
"""

from importlib import import_module
from importlib.metadata import entry_points

from shared.contract.validation import Body
from shared.runtime.context import ENTRY_POINTS


def request_model(function: str) -> type[Body] | None:
    """The model that the function validates its requests with; None where it is not installed, or has none there."""
    for entry in entry_points(group=ENTRY_POINTS, name=function):
        name = f"{entry.module.rpartition('.')[0]}.request"
        try:
            found = getattr(import_module(name), f"{function.capitalize()}Request", None)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            return None
        return found if isinstance(found, type) and issubclass(found, Body) else None
    return None
