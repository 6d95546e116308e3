"""Names from a request, safe to show: anything that could be a secret or a URL with one is replaced by its length."""

import re

from shared.contract.redaction import redact
from shared.contract.references import NAMELESS_SECRET

PLAIN_WORD = re.compile(r"[\w.,+-]{0,40}")  # too little to hold a part of a URL, a header or a setting


def is_plain(text: str) -> bool:
    """Return whether the text is a plain word that cannot hide a secret."""
    return bool(PLAIN_WORD.fullmatch(text)) and not NAMELESS_SECRET.fullmatch(text) and redact(text) == text


def show_name(name: str) -> str:
    """Return the name of an object's member, or its length if it is not plain."""
    return name if is_plain(name) else f"[{len(name)} characters]"
