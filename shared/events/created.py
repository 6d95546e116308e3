"""ObjectCreated, the common form of every store's notifications."""

from dataclasses import dataclass, replace

from shared.contract.manifests import shorten
from shared.errors import PhotogError

LONGEST_REASON = 500  # characters; an event has up to 256 KiB, and the reason is logged


class UnknownEvent(PhotogError):
    """The event has no form that photog reads."""

    def __init__(self, reason: str) -> None:
        super().__init__(shorten(reason, LONGEST_REASON))


@dataclass(frozen=True)
class ObjectCreated:
    """A new or changed object; `size` and `etag` are the sender's, or None."""

    key: str
    bucket: str | None = None
    size: int | None = None
    etag: str | None = None

    @property
    def holds_something(self) -> bool:
        """Whether it has content: not a folder marker, nor the empty object that a mounted bucket writes first."""
        return bool(self.size) if self.key.endswith("/") else self.size != 0

    def below(self, prefix: str) -> "ObjectCreated | None":
        """Return the object with its key below this prefix of a bucket; None if it is outside."""
        return replace(self, key=self.key.removeprefix(prefix)) if self.key.startswith(prefix) else None
