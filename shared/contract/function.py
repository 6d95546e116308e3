"""The interface that check, train and generate share: a body and a workspace in, an answer out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from shared.contract.manifests import Json
from shared.contract.workspace import Workspace
from shared.errors import ConfigurationError, PhotogError

NAMES = ("check", "train", "generate")  # in the order in which an application calls them


@dataclass(frozen=True)
class Answer:
    """A function's answer: the `data` of its envelope, and its message."""

    data: Json = field(default_factory=dict)
    message: str = "success"


class FunctionUnavailable(PhotogError):
    """The function cannot be loaded or has stopped working; its process should end and be restarted."""


class FunctionMisconfigured(FunctionUnavailable, ConfigurationError):
    """The function cannot be loaded, even after a restart, until somebody installs or sets what the message says."""


class DeviceBroken(FunctionUnavailable):
    """The process's GPU has stopped working: the request is handed back, and only a new process gets the GPU back."""


class AttemptFailed(PhotogError):
    """The attempt ended without an answer through no fault of the request; another one may begin at once."""


class FunctionFailed(PhotogError):
    """The function raised an unexpected exception; the message says which, its process's log has the traceback."""


class PointersUnknown(PhotogError):
    """Only the function itself knows what points to its answers, and this process has none loaded."""


class Function(Protocol):
    """One of the three functions, with its models loaded."""

    name: str

    def answer(self, body: Json, workspace: Workspace) -> Answer:
        """Serve one request; a RequestError that it raises becomes the error answer."""

    def evict(self, exists: Callable[[str], bool]) -> None:
        """Drop everything cached from objects that are gone from the bucket; called between requests.

        Args:
            exists: returns whether there is an object with this key.
        """

    def pointers(self, data: Json) -> dict[str, Json]:
        """Return the objects to write once an answer with this `data` is committed, key to content.

        Must be a pure function of `data`, because it is called again when a commit is repeated. Raises PointersUnknown
        in what stands in for a function: then the answer is left to a worker that has it.
        """
