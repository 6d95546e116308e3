"""The protocol's query parameters; every other parameter is a tag."""

from collections.abc import Mapping

from starlette.datastructures import Headers

from serve import durations
from serve.attributes import GROUP_HEADER, PRIORITY_HEADER, USER_HEADER
from shared.errors import PhotogError

OURS = frozenset(
    (
        *("_index_", "_indexes_", "_length_", "_timeout_", "_raw_", "_auto_delete_", "_attrs_", "_search_"),
        *("_trunc_", "_watch_", "_window_", "_index_only_", "_auto_commit_", "_priority_"),
    )
)
MOST_TAGS = 100  # of a put or a filter; each is a condition of a query
LONGEST_TAGS = 32 * 1024  # bytes of all tags of a put; URLs are bounded near that anyway
LARGEST = 2**63 - 1  # SQLite's integers


class BadParameter(PhotogError):
    """A parameter or header that cannot be read; the message names it."""


class Parameters:
    """The query and headers of one call; BadParameter from every reader."""

    def __init__(self, query: Mapping[str, str], headers: Headers) -> None:
        self._query, self._headers = query, headers

    def flag(self, name: str, default: bool = False) -> bool:
        """`true` or `false`."""
        text = self._query.get(name, str(default)).lower()
        if text not in ("true", "false"):
            raise BadParameter(f"{name} must be true or false, not {text[:40]!a}")
        return text == "true"

    def number(self, name: str, default: int, least: int = 0) -> int:
        """A whole number."""
        return _whole(name, self._query.get(name, str(default)), least)

    def numbers(self, name: str) -> list[int]:
        """Whole numbers, separated by commas; one call of the SDK may send a list with a list in it."""
        text = self._query.get(name, "").replace("[", "").replace("]", "")
        return [_whole(name, part.strip(), 0) for part in text.split(",") if part.strip()]

    def seconds(self, name: str, default: float) -> float:
        """A duration."""
        try:
            return durations.parse_duration(self._query[name]) if name in self._query else default
        except ValueError as error:
            raise BadParameter(f"{name}: {str(error)[:200]}") from error

    def has(self, name: str) -> bool:
        """Whether the parameter is there at all."""
        return name in self._query

    def priority(self) -> int:
        """Of a put, from its header or its parameter; 0 without."""
        text = self._headers.get(PRIORITY_HEADER) or self._query.get("_priority_") or "0"
        return _whole(PRIORITY_HEADER, text, -LARGEST)

    def tags(self) -> dict[str, str]:
        """Everything that is not the protocol's; as a filter, or of a put where `labels` has looked at it."""
        found = {name: value for name, value in self._query.items() if name not in OURS}
        if sum(len(name) + len(value) for name, value in found.items()) > LONGEST_TAGS:
            raise BadParameter(f"the tags are longer than {LONGEST_TAGS} characters together")
        if len(found) > MOST_TAGS:
            raise BadParameter(f"there are {len(found)} tags, {MOST_TAGS} are allowed")
        return found

    def labels(self) -> dict[str, str]:
        """The tags of a put: printable and of Latin-1, since they may become headers of answers."""
        found = self.tags()
        for name, value in found.items():
            if not (fits_header(name) and fits_header(value)):
                raise BadParameter(
                    f"the tag {name[:40]!a} has characters that no header can hold; use printable Latin-1"
                )
        return found

    def consumer(self) -> tuple[str, str]:
        """Group and user, under the names that attributes tell or those that the Python SDK sends."""
        group = self._headers.get(GROUP_HEADER) or self._headers.get("X-EAS-QueueService-Redis-Gid") or "eas"
        user = self._headers.get(USER_HEADER) or self._headers.get("X-EAS-QueueService-Redis-Uid") or "anonymous"
        return group, user


def fits_header(text: str) -> bool:
    """Whether it can be a header's value as it is: Latin-1 without control characters."""
    return all(" " <= letter <= "~" or "\xa0" <= letter <= "\xff" for letter in text)


def _whole(name: str, text: str, least: int) -> int:
    try:
        value = int(text)  # ValueError also for more than 4300 digits
    except ValueError as error:
        raise BadParameter(f"{name} must be a whole number, not {text[:40]!a}") from error
    if not least <= value <= LARGEST:
        raise BadParameter(f"{name} must be from {least} to {LARGEST}, not {text[:40]!a}")
    return value
