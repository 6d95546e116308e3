"""The table of all errors that can answer a request, read from the classes of `shared.errors`."""

import inspect
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, Field

from shared.errors import RETRY_SECONDS, RequestError


class ErrorType(BaseModel):
    """One type of error, as `schemas/errors.json` and docs/errors.md list it."""

    type: str = Field(description="as in `data.error.type`")
    retryable: Literal["yes", "no", "sometimes"] = Field(description="sometimes: `data.error.retryable` tells")
    retry_after: int | None = Field(description="seconds, unless a picture's server asked for others")
    description: str


def error_types() -> list[ErrorType]:
    """Return all types, sorted."""
    return sorted(map(_describe, set(_subclasses(RequestError))), key=lambda one: one.type)


def _subclasses(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    for one in kind.__subclasses__():
        if one.__module__ == RequestError.__module__:  # an application's own are not photog's
            yield one
        yield from _subclasses(one)


def _describe(kind: type[RequestError]) -> ErrorType:
    retryable: Literal["yes", "no", "sometimes"] = "sometimes" if kind.depends else "yes" if kind.retryable else "no"
    after = RETRY_SECONDS if kind.depends else kind.retry_after
    return ErrorType(
        type=kind.__name__,
        retryable=retryable,
        retry_after=after,
        description=" ".join(inspect.cleandoc(kind.__doc__ or "").split()),
    )
