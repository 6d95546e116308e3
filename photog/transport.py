"""How the client reaches photog: the protocol of all transports, and the errors that they and the client raise."""

from typing import Protocol

from shared.contract.answers import ErrorAnswer, ErrorDetail
from shared.contract.manifests import Json
from shared.errors import PhotogError
from shared.operations.uploads import SignedUpload


class RequestFailed(PhotogError):
    """A request was answered with an error.

    Attributes:
        answer: the whole answer.
        error: its type, the field that is wrong, and whether and when sending it again under a new id may help.
    """

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(f"{answer.data.error.type}: {answer.message}")
        self.answer = answer

    @property
    def error(self) -> ErrorDetail:
        """What programs need to know of it."""
        return self.answer.data.error


class ServerRefused(PhotogError):
    """The server of the REST interface refused a call; the message says why.

    Attributes:
        status: the HTTP status; 0 if there was no response.
        retry_after: seconds after which the same call may succeed; None if it will not.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class Transport(Protocol):
    """One way to reach photog. Calls may come from several threads.

    All may raise the store's BucketError, or ServerRefused.
    """

    def submit(self, function: str, body: Json) -> str:
        """Send a request and return its id; raises ConflictingRequest, and InvalidField where a server checks it."""

    def look(self, function: str, request_id: str) -> Json | None:
        """Return the answer, or the progress if there is none yet, or None if there is neither."""

    def cancel(self, function: str, request_id: str) -> Json:
        """Cancel a request and return its answer; raises UnknownRequest."""

    def list_requests(self, user_id: str) -> list[Json]:
        """Return `function`, `request_id` and `state` of a user's requests."""

    def upload(self, data: bytes, suffix: str, user_id: str | None) -> str:
        """Store a picture and return its reference.

        Args:
            suffix: of the file's name, such as .jpg.
            user_id: whose picture it is; it goes when this user is forgotten.

        Raises PhotoUndecodable where a server looks at it, for bytes that begin like no picture.
        """

    def sign_upload(self, suffix: str, user_id: str | None, content_type: str, seconds: int) -> SignedUpload:
        """Return an upload that somebody without credentials can make; raises NoSignedUploads where there is none."""

    def read(self, key: str) -> bytes:
        """Return an object that an answer names."""
