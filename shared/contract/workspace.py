"""What a function sees of the world while it serves one request: pictures in, artifacts out, progress."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from shared.errors import PhotoError

AT_ONCE = 5  # files held in memory; fetching is far faster than looking, so waiting for each five costs little


class Workspace(Protocol):
    """One attempt at one request.

    Attributes:
        request_id: the request's id, as a string.
        attempt: which attempt at it this is, from 1 on.
    """

    request_id: str
    attempt: int

    def fetch(self, references: Sequence[str]) -> list[bytes | PhotoError]:
        """The bytes of each picture, or why they cannot be had; in the order of the references."""

    def read(self, key: str) -> bytes | None:
        """An object of the bucket, such as a user's model; None where there is none."""

    def etag(self, key: str) -> str | None:
        """What changes whenever the object does, without reading it; None where there is none."""

    def size(self, key: str) -> int | None:
        """The object's size in bytes, without reading it; None where there is none."""

    def save(self, name: str, data: bytes) -> str:
        """Keep an artifact of this attempt under `name` (may contain /); its key in the bucket."""

    def previous(self, name: str) -> bytes | None:
        """What an earlier attempt at this request saved under `name`, the newest one's; None where none did."""

    def progress(self, stage: str, step: int, steps: int, eta_seconds: float | None = None, **figures: float) -> None:
        """Say how far the work is. Call it often: a lost claim, a deadline or a shutdown interrupts here."""

    def check(self) -> None:
        """Raise `shared.lifecycle.shutdown.Interrupted` when the work must stop."""


def fetch_in_turn(workspace: Workspace, references: Sequence[str]) -> Iterator[bytes | PhotoError]:
    """The bytes of each picture, or why they cannot be had, a few files at a time: fifty of 50 MB are not held."""
    for start in range(0, len(references), AT_ONCE):
        files = workspace.fetch(references[start : start + AT_ONCE])
        files.reverse()
        while files:
            yield files.pop()  # nothing here holds it any longer
