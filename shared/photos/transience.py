"""Whether a picture that could not be fetched may be there later: failures of its server that pass by themselves."""

import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from shared.errors import RETRY_SECONDS

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses after which the same call may succeed
LONGEST_RETRY = 3600  # seconds that a server may ask for; a longer pause is none that a sender waits for
OF_THE_NETWORK = (TimeoutError, httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def retry_after_status(status: int, headers: httpx.Headers) -> int | None:
    """Return the seconds after which a refused call may succeed, as its server says; None if it will not."""
    return _read_seconds(headers.get("Retry-After", "")) if status in PASSING else None


def retry_after_error(error: BaseException) -> int | None:
    """Return the seconds after which a call that failed without any response may succeed; None if it will not.

    A certificate that is not accepted stays so, and so does a host that does not exist.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return None
        if isinstance(cause, socket.gaierror):
            return RETRY_SECONDS if cause.errno == socket.EAI_AGAIN else None
        cause = cause.__cause__ or cause.__context__
    return RETRY_SECONDS if isinstance(error, OF_THE_NETWORK) else None


def _read_seconds(text: str) -> int:
    """Return what a Retry-After header asks for, a number or a date, within bounds; our default for anything else."""
    if text.isascii() and text.isdecimal():
        return max(1, min(int(text[:9]), LONGEST_RETRY))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return RETRY_SECONDS
    zoned = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(1, min(round((zoned - datetime.now(UTC)).total_seconds()), LONGEST_RETRY))
