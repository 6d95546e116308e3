"""What check, train and generate have in common: a body and a workspace in, an answer out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import ConfigurationError, PhotogError

NAMES = ("check", "train", "generate")  # in the order in which an application calls them


@dataclass(frozen=True)
class Answer:
    """What a function has to say: the `data` of its envelope, and its message."""

    data: Json = field(default_factory=dict)
    message: str = "success"


class FunctionUnavailable(PhotogError):
    """The function cannot be loaded, or not any more; its process should end and be started anew."""


class FunctionMisconfigured(FunctionUnavailable, ConfigurationError):
    """It cannot be loaded before somebody installs, gets or sets what the message says; starting anew is no help."""


class DeviceBroken(FunctionUnavailable):
    """The process's card answers nothing any more: its request is handed back, and only a new process gets it back."""


class AttemptFailed(PhotogError):
    """The attempt is over without an answer, which is not the request's fault: another one may begin at once."""


class FunctionFailed(PhotogError):
    """The function raised what none should; the message says what, the log of its process has the trace."""


class Function(Protocol):
    """One of the three, with its models loaded."""

    name: str

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Serve one request; a RequestError is its failed answer."""

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop whatever is kept in memory of objects that are gone from the bucket; called between requests.

        Args:
            exists: whether an object with this key is there.
        """

    def pointers(self, data: Json) -> dict[str, Json]:
        """Objects to swap once an answer with this `data` is committed, key to content; pure, since it is repeated."""
