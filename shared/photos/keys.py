"""Decides which references cannot be keys, by the same rule for all stores, and says why and what the sender can do.

S3 accepts keys such as `a//b.jpg`, `/a.jpg` and `a/`. A folder cannot hold them, and many tools confuse them with
`a/b.jpg`. So no picture is read by such a key, whatever the store.
"""

import unicodedata

from shared.contract.data_urls import LONGEST_KEY
from shared.contract.visible import without_blanks
from shared.photos.references import show_reference


def why_no_key(reference: str) -> str | None:
    """Return why a reference cannot be a key, and what to do about it; None if it can be one."""
    begin, parts = reference[: LONGEST_KEY + 1], reference.split("/")
    plain = "/".join(part for part in parts if part)
    faults = (
        (not plain, "has no name in it; give the name of an object"),
        ("." in parts or ".." in parts, "has . or .. between slashes; write the whole name of the object"),
        (
            plain != reference,
            "has a slash at an end or two in a row, which is refused for every store; put the picture under "
            f"{show_reference(plain)}, and send that key",
        ),
        ("\\" in reference, "has a backslash in it; names are separated by /"),
        (any(unicodedata.category(one) == "Cc" for one in begin), "has control characters; give it another name"),
        (
            len(begin.encode(errors="replace")) > LONGEST_KEY,
            f"has more than {LONGEST_KEY} bytes; send the picture itself as data:image/jpeg;base64,...",
        ),
    )
    return next((f"it {why}" for wrong, why in faults if wrong), None)


def find_similar_key(key: str, keys: list[str]) -> str | None:
    """Return the one of `keys` that differs from `key` only in how its characters are written; None if there is none.

    Keys that differ in Unicode normalization alone, as file names from macOS do, are preferred; next come keys that
    differ in case or kinds of spaces, and last those that differ in invisible characters.
    """
    for form in (_normalize, _fold, _visible):
        for one in keys:
            if one != key and form(one) == form(key):
                return one
    return None


def _normalize(key: str) -> str:
    return unicodedata.normalize("NFC", key)


def _fold(key: str) -> str:
    return unicodedata.normalize("NFKC", key).casefold()


def _visible(key: str) -> str:
    return _fold(without_blanks(key))
