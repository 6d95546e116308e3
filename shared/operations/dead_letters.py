"""What answers the dead letters: a function that says of each request that it could not be delivered."""

from collections.abc import Callable

from shared.contract.function import Answer
from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import RequestError
from shared.settings import Settings


class DeadLetter(RequestError):
    """No worker could take the request as often as it was tried; look at the workers' logs, then send it anew."""

    retryable = True


class DeadLetterFunction:
    """Stands in for a function over its dead-letter queue; everything else of an invocation stays as it is.

    So a request that is answered stays so, one that a worker is still busy with is left to it, and the answer goes out
    like any other, with its event.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Always Undeliverable."""
        raise DeadLetter("no worker could take this request as often as it was tried; send it under a new id")

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Nothing is kept."""

    def pointers(self, data: Json) -> dict[str, Json]:
        """None: there is no success to point to."""
        return {}
