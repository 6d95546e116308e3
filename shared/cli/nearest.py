"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable
from pathlib import Path

MEANT = "; did you mean "
ALIKE = 0.6  # difflib's default: two letters swapped or missing in a short word, more in a long one


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the nearest known name, or an empty text if none is near."""
    near = _find_nearest(written, known)
    return "" if near is None else f"{MEANT}{near}?"


def did_you_mean_path(written: Path, beside: Iterable[str]) -> str:
    """Return the same of a path, with the nearest name in its folder; the folder itself makes no two names alike."""
    near = _find_nearest(written.name, beside)
    return "" if near is None else f"{MEANT}{written.parent / near}?"


def _find_nearest(written: str, known: Iterable[str]) -> str | None:
    by_small = {name.lower(): name for name in known}
    near = difflib.get_close_matches(written.lower(), by_small, 1, ALIKE)
    return by_small[near[0]] if near else None
