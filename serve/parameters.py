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
MOST_TAGS = 100  # of a put or a filter; each becomes a condition of a query
LONGEST_TAGS = 32 * 1024  # characters of all tags of a put together; URLs are limited to about that anyway
LARGEST = 2**63 - 1  # SQLite's largest integer


class BadParameter(PhotogError):
    """Raised for a parameter or header that cannot be read; the message names it."""


class Parameters:
    """The query and headers of one call. Every method that reads them may raise BadParameter."""

    def __init__(self, query: Mapping[str, str], headers: Headers) -> None:
        self._query, self._headers = query, headers

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a parameter that is `true` or `false`."""
        text = self._query.get(name, str(default)).lower()
        if text not in ("true", "false"):
            raise BadParameter(f"{name} must be true or false, not {text[:40]!a}")
        return text == "true"

    def number(self, name: str, default: int, least: int = 0) -> int:
        """Return a whole number."""
        return _whole(name, self._query.get(name, str(default)), least)

    def numbers(self, name: str) -> list[int]:
        """Return whole numbers, separated by commas; one call of the SDK may send a list within a list."""
        text = self._query.get(name, "").replace("[", "").replace("]", "")
        return [_whole(name, part.strip(), 0) for part in text.split(",") if part.strip()]

    def seconds(self, name: str, default: float) -> float:
        """Return a duration in seconds."""
        try:
            return durations.parse_duration(self._query[name]) if name in self._query else default
        except ValueError as error:
            raise BadParameter(f"{name}: {str(error)[:200]}") from error

    def has(self, name: str) -> bool:
        """Return whether the parameter is present."""
        return name in self._query

    def priority(self) -> int:
        """Return the priority of a put, from its header or its parameter; 0 without either."""
        text = self._headers.get(PRIORITY_HEADER) or self._query.get("_priority_") or "0"
        return _whole(PRIORITY_HEADER, text, -LARGEST)

    def tags(self) -> dict[str, str]:
        """Return all parameters that are not the protocol's: the tags of a filter, or of a put (see `labels`)."""
        found = {name: value for name, value in self._query.items() if name not in OURS}
        if sum(len(name) + len(value) for name, value in found.items()) > LONGEST_TAGS:
            raise BadParameter(f"the tags are longer than {LONGEST_TAGS} characters together")
        if len(found) > MOST_TAGS:
            raise BadParameter(f"there are {len(found)} tags, {MOST_TAGS} are allowed")
        return found

    def labels(self) -> dict[str, str]:
        """Return the tags of a put, which must be printable Latin-1 because they may become headers of answers."""
        found = self.tags()
        for name, value in found.items():
            if not (fits_header(name) and fits_header(value)):
                raise BadParameter(
                    f"the tag {name[:40]!a} has characters that no header can hold; use printable Latin-1"
                )
        return found

    def consumer(self) -> tuple[str, str]:
        """Return group and user, from the headers that `attributes()` names or from those that the Python SDK sends."""
        group = self._headers.get(GROUP_HEADER) or self._headers.get("X-EAS-QueueService-Redis-Gid") or "eas"
        user = self._headers.get(USER_HEADER) or self._headers.get("X-EAS-QueueService-Redis-Uid") or "anonymous"
        return group, user


def fits_header(text: str) -> bool:
    """Return whether text can be a header's value as it is: Latin-1 without control characters."""
    return all(" " <= letter <= "~" or "\xa0" <= letter <= "\xff" for letter in text)


def _whole(name: str, text: str, least: int) -> int:
    try:
        value = int(text)  # ValueError also for more than 4300 digits
    except ValueError as error:
        raise BadParameter(f"{name} must be a whole number, not {text[:40]!a}") from error
    if not least <= value <= LARGEST:
        raise BadParameter(f"{name} must be from {least} to {LARGEST}, not {text[:40]!a}")
    return value
