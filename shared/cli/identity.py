"""User ids on the command line, checked before anything is sent or removed."""

import re
import unicodedata

from shared.cli.console import fail
from shared.contract.validation import user_id


def require_user(value: str) -> None:
    """Exit if the value cannot be a user id, with an id that is like it."""
    try:
        user_id(value)
    except ValueError as error:
        like = _suggest(value)
        fail(f"{value!r} is not a user id; it {error}" + (f"; {like}, for example" if like else ""))


def _suggest(name: str) -> str | None:
    """Return an id that is like a name, such as `jurgen` for `Jürgen`; None if hardly a letter of it would be left."""
    letters = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    found = re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")[:64]
    return found if len(found) * 2 > len(name) and found != "none" else None
