"""Where completion events go."""

from typing import Protocol

from shared.contract.manifests import Json
from shared.errors import PhotogError


class DeliveryFailed(PhotogError):
    """The destination did not take an event; it is tried again later."""


class Destination(Protocol):
    """A place outside of the bucket; `name` stands for it in the outbox and holds no secret."""

    name: str

    def send(self, event: Json) -> None:
        """Deliver one event; Undelivered."""
