"""Ages on the command line, such as 30d."""

import re

from shared.cli.console import fail

DAY = 86_400.0
UNITS = {"h": 3600.0, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}
AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hdwy])")


def parse_age(option: str, text: str) -> float:
    """Return an age in seconds; end the program if it is none."""
    found = AGE.fullmatch(text)
    if found is None:
        fail(f"{option} {text} is no age; write 12h, 30d, 8w or 1y")
    return float(found[1]) * UNITS[found[2]]
