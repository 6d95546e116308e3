"""Text as people can tell it from another: what shows nothing, odd spaces and turns of direction are spelled out.

`photos/a b.jpg` with U+00A0 in it is shown as `photos/a\\u00a0b.jpg`, as JSON writes it; controls as `\\x1b` and `\\n`.
"""

import re

BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Counted among letters, marks and symbols, and nothing to be seen: fillers, joiners, selectors."""


def visible(text: str) -> str:
    """The text on one line, with whatever its reader would not see spelled out."""
    if text.isprintable() and (text.isascii() or not BLANK.search(text)):
        return text
    return "".join(map(_shown, text))


def without_blanks(text: str) -> str:
    """The text without what shows nothing; spaces of any kind stay."""
    return "".join(one for one in text if (one.isprintable() or one.isspace()) and not BLANK.match(one))


def _shown(character: str) -> str:
    if character.isprintable() and not BLANK.match(character):
        return character
    code = ord(character)
    if code < 0x80:
        return character.encode("unicode_escape").decode("ascii")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
