"""Which references cannot be keys, why, and what their sender can do: one rule for all stores.

S3 takes names such as `a//b.jpg`, `/a.jpg` and `a/`; a folder cannot hold them, and many tools take them for `a/b.jpg`.
So no picture is read by such a name, wherever it is.
"""

import unicodedata

from shared.contract.data_urls import LONGEST_KEY
from shared.contract.visible import without_blanks
from shared.photos.references import show_reference


def why_no_key(reference: str) -> str | None:
    """What keeps a reference from being a key, and what to do; None where it can be one."""
    begin, parts = reference[: LONGEST_KEY + 1], reference.split("/")
    plain = "/".join(part for part in parts if part)
    faults = (
        (not plain, "without a name; give the name of an object"),
        ("." in parts or ".." in parts, "with . or .. between /; write the whole name of the object"),
        (
            plain != reference,
            "with / at an end or twice in a row, whatever the store holds; put the picture under "
            f"{show_reference(plain)}, and name that",
        ),
        ("\\" in reference, "with a backslash; names are separated by /"),
        (any(unicodedata.category(one) == "Cc" for one in begin), "with control characters; give it another name"),
        (
            len(begin.encode(errors="replace")) > LONGEST_KEY,
            f"of more than {LONGEST_KEY} bytes; a picture itself is sent as data:image/jpeg;base64,...",
        ),
    )
    return next((f"it cannot be a key {why}" for wrong, why in faults if wrong), None)


def find_similar_key(key: str, keys: list[str]) -> str | None:
    """The one of `keys` that differs in nothing but how its characters are written; None where there is none.

    Those that differ in Unicode normalization alone come first, as file names of macOS do; then those that differ in
    capitals, or in kinds of spaces; then in characters that nobody sees.
    """
    for form in (_normalized, _folded, _seen):
        for one in keys:
            if one != key and form(one) == form(key):
                return one
    return None


def _normalized(key: str) -> str:
    return unicodedata.normalize("NFC", key)


def _folded(key: str) -> str:
    return unicodedata.normalize("NFKC", key).casefold()


def _seen(key: str) -> str:
    return _folded(without_blanks(key))
