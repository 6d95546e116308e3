"""Where ObjectCreated comes from."""

from collections.abc import Callable
from threading import Event
from typing import Protocol

from shared.events import ObjectCreated
from shared.invocation import Outcome

Receive = Callable[[ObjectCreated], Outcome]


class Trigger(Protocol):
    """Offers objects to `receive`, one at a time, until each is settled."""

    def run(self, receive: Receive, stop: Event) -> None:
        """Until `stop` is set, which it asks every few seconds at least."""

    def beat(self) -> None:
        """Keep what is being worked on; called from the heartbeat's thread, never raises."""
