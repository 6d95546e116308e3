"""Durations as the protocol writes them, Go's form: `5s`, `1m30s`, `250ms`, `1h10m4.997s`.

durationpy is not used: it reads `1s junk 2s` as 3 seconds, accepts `-5s` and `1mm` (a month), refuses the bare
numbers that clients send, and writes `4ms` where the protocol has `0.004s`.
"""

import re

SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
WHOLE = re.compile(rf"(?:{PART.pattern})+")
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_duration(text: str) -> float:
    """Return a duration in seconds; a bare number is seconds. Raises ValueError for anything else."""
    if NUMBER.fullmatch(text):
        return float(text)
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text[:40]!a} is no duration; write 5s, 1m30s or 250ms")
    return sum(float(amount) * SECONDS[unit] for amount, unit in PART.findall(text))


def format_duration(duration: float) -> str:
    """Return seconds in that form, to the millisecond."""
    whole, rest = divmod(round(max(0.0, duration) * 1000), 60_000)
    hours, minutes = divmod(whole, 60)
    text = f"{rest / 1000:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text
