"""Where ObjectCreated comes from."""

from threading import Event
from typing import Protocol

from shared.events import ObjectCreated
from shared.lifecycle.invocation import Outcome


class Receive(Protocol):
    """`Invocation.receive`, or something around it."""

    def __call__(self, created: ObjectCreated, written: bool = True) -> Outcome:
        """What became of an object; `written` says whether its writer is done for sure."""


class Trigger(Protocol):
    """Offers objects to `receive`, one at a time, until each is settled."""

    def prepare(self, stop: Event) -> None:
        """Whatever can be done before anything can be served, while a function loads; `run` gets the same `stop`."""

    def run(self, receive: Receive, stop: Event) -> None:
        """Until `stop` is set, which it asks every few seconds at least. FunctionUnavailable ends it."""

    @property
    def failing(self) -> int:
        """How many objects could not be served and wait for their next try."""
