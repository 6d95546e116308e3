"""The trace that a request belongs to, by W3C Trace Context: `traceparent` in the request's metadata."""

import re
from collections.abc import Mapping

TRACEPARENT = "traceparent"
VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read_traceparent(metadata: Mapping[str, object]) -> str | None:
    """Return the traceparent in a request's metadata; None if there is none, or not a valid one."""
    given = metadata.get(TRACEPARENT)
    return given if isinstance(given, str) and VALID.fullmatch(given) else None


def read_trace_id(metadata: Mapping[str, object]) -> str | None:
    """Return the trace's id of 32 hexadecimal digits."""
    found = VALID.fullmatch(read_traceparent(metadata) or "")
    return found[1] if found else None
