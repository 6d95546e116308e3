"""Strings in untrusted data: anywhere in JSON, and in bytes that are not JSON, escaped or not."""

import re
from collections.abc import Iterator

from shared.contract.manifests import USER_ID

ESCAPE = re.compile(rb"\\(?:u00([0-7][0-9a-fA-F])|U000000([0-7][0-9a-fA-F])|x([0-7][0-9a-fA-F])|([0-7]{1,3})|([\"'/]))")
LONGEST_ESCAPE = 20  # bytes of one escaped character in UTF-16


def strings(value: object) -> Iterator[str]:
    """Yield every string within a JSON value, except the names of members."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            todo += one.values()
        elif isinstance(one, list):
            todo += one


def ids(value: object) -> frozenset[str]:
    """Return every string within a JSON value that could be a user id, including names of members."""
    found, todo = set(), [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str) and USER_ID.fullmatch(one):
            found.add(one)
        elif isinstance(one, dict):
            todo += [*one, *one.values()]
        elif isinstance(one, list):
            todo += one
    return frozenset(found)


def quotes(text: bytes, name: str) -> bool:
    """Return whether bytes of any kind contain the name in quotes, even with escapes or in UTF-16."""
    plain = text.replace(b"\0", b"") if b"\0" in text else text
    unescaped = ESCAPE.sub(_unescape, plain) if b"\\" in plain else plain
    wanted = f'"{name}"'.encode(), f"'{name}'".encode()
    return any(one in unescaped for one in wanted)


def _unescape(match: re.Match[bytes]) -> bytes:
    short, long, hexadecimal, octal, quote = match.groups()
    if quote:
        return quote
    return bytes([int(octal, 8) & 255 if octal else int(short or long or hexadecimal, 16)])
