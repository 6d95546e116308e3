"""The error for a call that is refused."""

from shared.errors import PhotogError


class RequestRefused(PhotogError):
    """Raised to answer a call with an HTTP status and a sentence.

    Args:
        retry_seconds: when the same call may be tried again; None if trying again does not help.
    """

    def __init__(self, status: int, message: str, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {} if retry_seconds is None else {"Retry-After": str(retry_seconds)}
