"""Words out of a request, fit for people's eyes: whatever could be a secret or a URL with one is told by its size."""

import re

from shared.contract.redaction import redact
from shared.contract.references import NAMELESS_SECRET

PLAIN_WORD = re.compile(r"[\w.,+-]{0,40}")  # no part of a URL, a header or a setting can be told in it


def is_plain(text: str) -> bool:
    """Whether the text is a word that hides nothing."""
    return bool(PLAIN_WORD.fullmatch(text)) and not NAMELESS_SECRET.fullmatch(text) and redact(text) == text


def show_name(name: str) -> str:
    """What a member of an object is called."""
    return name if is_plain(name) else f"[{len(name)} characters]"
