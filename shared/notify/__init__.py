"""Where completion events go."""

from typing import Protocol

from shared.contract.manifests import Json
from shared.errors import PhotogError


class Notifier(Protocol):
    """Told of every answer before it is committed and, at least once, afterwards; repeats must do no harm."""

    def announce(self, function: str, request_id: str) -> None:
        """The answer of this request is about to be committed: what must not be lost is noted now."""

    def withdraw(self, function: str, request_id: str) -> None:
        """There will be no answer after all: what was noted may go."""

    def notify(self, function: str, event: Json) -> None:
        """The answer is committed: pass its event on, without waiting for anybody."""


class Undelivered(PhotogError):
    """The destination did not take an event; it is tried again later."""


class Destination(Protocol):
    """A place outside of the bucket; `name` stands for it in the outbox and holds no secret."""

    name: str

    def send(self, event: Json) -> None:
        """Deliver one event; Undelivered."""
