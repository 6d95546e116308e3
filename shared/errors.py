"""The root of all our errors, and below it those that answer a request and those of an installation.

A `RequestError` answers a request: `type` in the answer is the class name, `field` names the input, `retryable` says
whether asking again may help; each leaf says what the sender can do. A `ConfigurationError` ends a program: it is the
one kind that starting again does not mend.
"""


class PhotogError(Exception):
    """Anything that photog itself raises."""


class ConfigurationError(PhotogError):
    """Something that is asked for cannot be had here; the message says what to install, to get or to set."""


def how_to_install(extra: str) -> str:
    """The command that brings an extra. There is another project called photog on PyPI, so it names this checkout."""
    return f"pip install '.[{extra}]' in photog's checkout"


class RequestError(PhotogError):
    """A request cannot be answered with OK; the message is for its sender."""

    retryable = False

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def as_dict(self) -> dict[str, object]:
        """`{"type", "field"?, "retryable"}`, as `data.error` carries it."""
        answer: dict[str, object] = {"type": type(self).__name__, "retryable": self.retryable}
        if self.field is not None:
            answer["field"] = self.field
        return answer


class InvalidManifest(RequestError):
    """The manifest is no JSON object, or has no usable request_id; send it again, corrected."""


class ManifestTooLarge(RequestError):
    """The manifest is over the size limit; put pictures into the bucket and name their keys."""


class InvalidField(RequestError):
    """A field is missing, of the wrong type or out of its range; the message names both."""


class ConflictingRequest(RequestError):
    """This request_id has been used with another body; send the new body under a new id."""


class PhotoError(RequestError):
    """A picture cannot be used."""


class PhotoUnavailable(PhotoError):
    """A picture cannot be fetched: wrong reference, not there, refused or too slow."""


class PhotoTooLarge(PhotoError):
    """A picture is over the limit of bytes or pixels; send it smaller."""


class PhotoUndecodable(PhotoError):
    """The bytes are no picture that we read; send a jpg or png."""


class TooFewPhotos(RequestError):
    """Fewer usable photos than a training needs; the message says what was wrong with the others."""


class UnknownUser(RequestError):
    """Nobody was trained under this user_id; train first."""


class NoFaceInTemplate(RequestError):
    """The template shows no face that could be replaced; choose another picture."""


class UnsuitableFace(RequestError):
    """A face of the template is too small or turned too far away; choose another picture, or "none" for that face."""


class FaceCountMismatch(RequestError):
    """The template shows another number of faces than user ids were given."""


class PictureFailed(RequestError):
    """Values came out that are no numbers, and so no colors: train again, or look at the worker's models."""


class DeadlineExceeded(RequestError):
    """The request took longer than the limit; ask for fewer steps or raise the limit."""


class AttemptsExhausted(RequestError):
    """Every attempt at this request ended without an answer; the message says how, the workers' logs why."""


class AnswerTooLarge(RequestError):
    """The answer would be over the size limit; ask for fewer things at once."""


class DeviceError(RequestError):
    """The worker's card, or what runs networks on it, failed; nothing is wrong with the request, send it again."""

    retryable = True


class OutOfMemory(DeviceError):
    """A worker's memory was too small, with one thing at a time too; send it again, or give the worker more."""


class InternalError(RequestError):
    """Something failed that should not; the log of the worker has the trace."""

    retryable = True
