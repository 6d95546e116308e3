"""A function's view of the world while it serves one request: pictures in, artifacts out, progress."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from shared.errors import PhotoError

AT_ONCE = 5  # files held in memory; fetching is much faster than assessing, so waiting for each five costs little


class Workspace(Protocol):
    """One attempt at one request.

    Attributes:
        request_id: the request's id, as a string.
        attempt: number of this attempt, counted from 1.
    """

    request_id: str
    attempt: int

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """Return the bytes of each picture, or why it cannot be fetched, in the order of the references."""

    def read(self, key: str) -> bytes | None:
        """Return an object of the bucket, such as a user's model; None if it does not exist."""

    def etag(self, key: str) -> str | None:
        """Return the object's etag, which changes with its content, without reading it; None if it does not exist."""

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, without reading it; None if it does not exist."""

    def save(self, name: str, data: bytes) -> str:
        """Save an artifact of this attempt under `name`, which may contain /, and return its key in the bucket."""

    def previous(self, name: str) -> bytes | None:
        """Return what the latest earlier attempt at this request saved under `name`; None if none did."""

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Report progress. Call it often: a lost claim, a deadline or a shutdown interrupts the work here."""

    def check(self) -> None:
        """Raise `shared.lifecycle.shutdown.Interrupted` if the work must stop."""


def fetch_in_turn(workspace: Workspace, references: Sequence[str]) -> Iterator[bytes | PhotoError]:
    """Yield the bytes of each picture, or why it cannot be fetched.

    They are fetched a few at a time, so that fifty files of 50 MB are never in memory together.
    """
    for start in range(0, len(references), AT_ONCE):
        files = workspace.fetch(references[start : start + AT_ONCE])
        files.reverse()
        while files:
            yield files.pop()  # so that no reference to it is kept here
