"""The name that somebody meant who wrote another one."""

import difflib
from collections.abc import Iterable

ALIKE = 0.6  # difflib's own default: two letters swapped or left out of a short word, more of a long one


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the known name that is nearest, or nothing where none is near."""
    by_small = {name.lower(): name for name in known}
    near = difflib.get_close_matches(written.lower(), by_small, 1, ALIKE)
    return f"; did you mean {by_small[near[0]]}?" if near else ""
