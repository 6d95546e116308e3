"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable

MEANT = "; did you mean "
ALIKE = 0.6  # difflib's default: two letters swapped or missing in a short word, more in a long one


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the nearest known name, or an empty text if none is near."""
    by_small = {name.lower(): name for name in known}
    near = difflib.get_close_matches(written.lower(), by_small, 1, ALIKE)
    return f"{MEANT}{by_small[near[0]]}?" if near else ""
