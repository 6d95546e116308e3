"""Destinations of completion events."""

from typing import Protocol

from shared.contract.manifests import Json
from shared.errors import PhotogError


class DeliveryFailed(PhotogError):
    """The destination did not accept an event; it is sent again later."""


class Destination(Protocol):
    """A destination outside the bucket; `name` identifies it in the outbox and contains no secret."""

    name: str

    def send(self, event: Json) -> None:
        """Deliver one event; raises DeliveryFailed."""
