"""Text whose characters can all be seen: invisible characters, unusual spaces and direction marks are spelled out.

`photos/a b.jpg` with U+00A0 in it is shown as `photos/a\\u00a0b.jpg`, as JSON writes it; controls as `\\x1b` and `\\n`.
"""

import re

BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Unicode counts these as letters, marks and symbols, but they show nothing: fillers, joiners, selectors."""


def visible(text: str) -> str:
    """Return the text on one line, with every character spelled out that a reader would not see."""
    if text.isprintable() and (text.isascii() or not BLANK.search(text)):
        return text
    return "".join(map(_show_character, text))


def without_blanks(text: str) -> str:
    """Return the text without characters that show nothing; spaces of any kind stay."""
    return "".join(one for one in text if (one.isprintable() or one.isspace()) and not BLANK.match(one))


def _show_character(character: str) -> str:
    if character.isprintable() and not BLANK.match(character):
        return character
    code = ord(character)
    if code < 0x80:
        return character.encode("unicode_escape").decode("ascii")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
