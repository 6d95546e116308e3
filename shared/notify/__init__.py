"""Where completion events go."""

from typing import Protocol

from shared.manifests import Json


class Notifier(Protocol):
    """Takes a completion event; called at least once for every answer, so repeats must do no harm."""

    def notify(self, function: str, event: Json) -> None:
        """Pass the event on."""
