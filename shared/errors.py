"""The base class of photog's errors, the errors that answer a request, and the errors of an installation.

A `RequestError` becomes the answer to a request: `type` in the answer is the class name, `field` names the input,
`retryable` says whether the same request may succeed under a new id, and `retry_after` after how many seconds. The
docstring of each class says what the sender can do; docs/errors.md is the table of all classes.
A `ConfigurationError` ends a program: it is the one kind of error that a restart does not cure.
"""

from typing import ClassVar, Self


class PhotogError(Exception):
    """Base class of every error that photog raises."""


class ConfigurationError(PhotogError):
    """Raised when something that was configured is not available here; the message says what to install, get or set."""


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra.

    It names this checkout, because photog is not on PyPI; the project of that name there is another one.
    """
    return f"pip install '.[{extra}]' in photog's checkout"


def explain_failed_import(error: BaseException) -> str:
    """Return why a package cannot be imported, and what to do about it if the reason is torchvision.

    transformers and diffusers import torchvision if it is installed, and replace its error by several of their own, so
    the first of the chain is shown.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    reason = f"{type(error).__name__}: {error}"
    if "torchvision" in reason:
        return f"torchvision is not the one made for the torch that is installed; install both from one index: {reason}"
    return reason


RETRY_SECONDS = 30  # until what failed for a moment may work again: a restart, a network, another server's load
DAY = 86_400  # seconds; a quota is for a day
WORKER_RETRY_SECONDS = 60  # until another worker may serve it: one that died has loaded its models again


class RequestError(PhotogError):
    """Base class of the errors that answer a request; the message is for the sender.

    Attributes:
        retryable: whether the same request may succeed when it is sent again under a new id.
        retry_after: seconds to wait before that; None if it is not retryable.
        depends: whether errors of this class differ in that: `retry_in` was called on those that are retryable.
    """

    retryable: bool = False
    retry_after: int | None = None
    depends: ClassVar[bool] = False

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def retry_in(self, seconds: int | None) -> Self:
        """Set after how many seconds sending the request again may help, if at all, and return the error."""
        self.retryable, self.retry_after = seconds is not None, seconds
        return self

    def as_dict(self) -> dict[str, object]:
        """Return `{"type", "field"?, "retryable", "retry_after"?}`, the value of `data.error` in an answer."""
        answer: dict[str, object] = {"type": type(self).__name__, "retryable": self.retryable}
        if self.retryable and self.retry_after is not None:
            answer["retry_after"] = self.retry_after
        if self.field is not None:
            answer["field"] = self.field
        return answer


class InvalidManifest(RequestError):
    """The manifest is not a JSON object, or has no usable request_id; correct it and send it again."""


class ManifestTooLarge(RequestError):
    """The manifest is larger than the limit; put the pictures into the bucket and send their keys."""


class InvalidField(RequestError):
    """A field is missing, has the wrong type or is out of range; the message names the field and what is allowed."""


class ConflictingRequest(RequestError):
    """This request_id was already used with another body; send the new body under a new id."""


class PhotoError(RequestError):
    """A picture cannot be used; the message says why. Base class of the errors about one picture."""


class PhotoUnavailable(PhotoError):
    """A picture cannot be fetched: wrong reference, nothing there, access refused, or a server that fails.

    Retryable where its server was too slow, broke the connection or said that it is unavailable or overloaded.
    """

    depends = True


class PhotoTooLarge(PhotoError):
    """A picture has more bytes or pixels than the limit; send a smaller one."""


class PhotoUndecodable(PhotoError):
    """The bytes are not a picture in a format that photog reads; send a JPEG or PNG."""


class TooFewPhotos(RequestError):
    """There are fewer usable photos than train needs; the message says what was wrong with the others.

    Retryable where those whose servers failed for the moment would be enough.
    """

    depends = True


class NoUsableReference(RequestError):
    """None of a person's references can be used; the message says what is wrong with each, send others.

    Retryable where the server of one of them failed for the moment.
    """

    depends = True


class AnotherPerson(RequestError):
    """The photos show somebody else than the person known under this user_id; choose another id, or say `replace`."""


class TrainingDiverged(RequestError):
    """The training exploded before its first checkpoint; the worker needs a lower PHOTOG_TRAIN__LEARNING_RATE."""


class UnknownUser(RequestError):
    """Nobody is known under this user_id; train first, or send references."""


class NoFaceInTemplate(RequestError):
    """The template shows no face that can be replaced; choose another picture."""


class UnsuitableFace(RequestError):
    """A template's face is too small, turned too far or hidden too much; choose another picture, or "none" for it."""


class FaceCountMismatch(RequestError):
    """The template has more or fewer faces than the request has people, who take them from left to right."""


class PictureFailed(RequestError):
    """A computation produced NaN or infinite values instead of colors; train again, or check the worker's models."""


class DeadlineExceeded(RequestError):
    """The request took longer than the limit; send it again, ask for fewer steps, or raise the limit."""

    retryable, retry_after = True, WORKER_RETRY_SECONDS


class AttemptsExhausted(RequestError):
    """Every attempt at this request ended without an answer; the message says how, the workers' logs say why."""

    retryable, retry_after = True, WORKER_RETRY_SECONDS


class AnswerTooLarge(RequestError):
    """The answer would be larger than the limit; ask for less in one request."""


class DeviceError(RequestError):
    """The worker's GPU or the library that runs networks on it failed; the request is fine, send it again."""

    retryable, retry_after = True, WORKER_RETRY_SECONDS


class OutOfMemory(DeviceError):
    """The worker ran out of memory even with one item at a time; send it again, or give the worker more memory."""


class QuotaExceeded(RequestError):
    """The user has no requests or seconds of a device left today; send it again when the day of UTC has ended."""

    retryable, retry_after = True, DAY


class InternalError(RequestError):
    """Something failed unexpectedly; the worker's log has the traceback."""

    retryable, retry_after = True, RETRY_SECONDS


class RequestCanceled(RequestError):
    """The request was canceled before it was answered; send it under a new id if it is wanted after all."""


class Forgotten(RequestError):
    """The request's user was forgotten while it ran; nothing of it is kept, not even this answer for long."""


class Undeliverable(RequestError):
    """No worker could serve the request, however often it was tried; read the workers' logs, then send it again."""

    retryable, retry_after = True, WORKER_RETRY_SECONDS
