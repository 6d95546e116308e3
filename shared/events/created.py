"""What every sender's notification comes down to."""

from dataclasses import dataclass, replace

from shared.contract.manifests import shorten
from shared.errors import PhotogError

LONGEST_REASON = 500  # characters; an event has up to 256 KiB, and what is wrong with it is logged


class UnknownEvent(PhotogError):
    """The event has none of the forms that we read."""

    def __init__(self, reason: str) -> None:
        super().__init__(shorten(reason, LONGEST_REASON))


@dataclass(frozen=True)
class ObjectCreated:
    """A new or changed object; `size` and `etag` as the sender gave them, None where it gave none."""

    key: str
    bucket: str | None = None
    size: int | None = None
    etag: str | None = None

    @property
    def holds_something(self) -> bool:
        """False for folder markers, and for the empty object that a mounted bucket writes before the content."""
        return bool(self.size) if self.key.endswith("/") else self.size != 0

    def below(self, prefix: str) -> "ObjectCreated | None":
        """The same as a bucket with this prefix calls it; None where it lies outside."""
        return replace(self, key=self.key.removeprefix(prefix)) if self.key.startswith(prefix) else None
