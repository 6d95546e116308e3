"""The function that answers dead letters: it says of each request that it could not be delivered."""

from collections.abc import Callable

from shared.contract.function import Answer, PointersUnknown
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import Undeliverable
from shared.settings import Settings


class DeadLetterFunction:
    """Stands in for a function on its dead-letter queue; the rest of an invocation stays as it is.

    So an existing answer is kept, a request that a worker still serves is left to it, and the error answer is published
    and notified like any other.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Raise Undeliverable, always."""
        raise Undeliverable("no worker could serve this request, however often it was tried; send it under a new id")

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Do nothing, as nothing is cached."""

    def pointers(self, data: Json) -> dict[str, Json]:
        """Raise PointersUnknown: a success is that of a worker, which may have died before it has pointed to it."""
        raise PointersUnknown(f"{self.name} is not loaded here")
