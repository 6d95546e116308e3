"""Triggers: the sources of ObjectCreated events."""

from collections.abc import Callable
from threading import Event
from typing import Protocol

from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome


class Receive(Protocol):
    """`Invocation.receive`, or a wrapper around it."""

    def __call__(self, created: ObjectCreated, written: bool = True) -> Outcome:
        """Return the outcome for an object; `written` says whether the object is surely complete."""


class Trigger(Protocol):
    """Offers objects to `receive` until each is settled; one at a time is worked on, see `lanes.py`."""

    def prepare(self, stop: Event) -> None:
        """Do whatever is possible while the function still loads; `run` gets the same `stop`."""

    def prepare_with(self, prepare: Callable[[ObjectCreated, Callable[[], bool]], None]) -> None:
        """Set what makes a request ready while another one is worked on: `Invocation.prepare`."""

    def run(self, receive: Receive, stop: Event) -> None:
        """Run until `stop` is set, which is checked at least every few seconds. FunctionUnavailable ends it."""

    @property
    def failing(self) -> int:
        """The number of objects that could not be served and wait for their next try."""
