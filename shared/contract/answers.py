"""What crosses the wire towards an application, as types: answers, progress and completion events.

They are what the published schemas are made from, and what the client hands out. Members that a later release adds are
kept and no error: see docs/compatibility.md.
"""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

FIRST_CONTRACT = "1.0"  # of answers that do not say it, because an earlier release wrote them
Verdict = Literal[1, 2, 3, 4, 5, 6]
Metadata = dict[str, str | int | float | bool]


class Wire(BaseModel):
    """Base class of everything that photog writes for applications; unknown members are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class ErrorDetail(Wire):
    """`data.error` of an answer to a request that could not be served; docs/errors.md has all types."""

    type: str = Field(description="as in docs/errors.md; later releases may add types")
    field: str | None = Field(None, description="the member of the request that is wrong")
    retryable: bool = Field(description="whether the same request may succeed under a new id")
    retry_after: int | None = Field(None, ge=1, description="seconds to wait before that")


class RejectedPhoto(Wire):
    """A photo that was left out."""

    url: str
    reason: str


class Usage(Wire):
    """What the attempt that was answered has used; what attempts before it used is not told."""

    device_seconds: float = Field(ge=0, description="for which it had its worker's device, from its claim to its end")
    bytes_read: int = Field(ge=0, description="of pictures and of objects in the bucket, as the function got them")
    bytes_written: int = Field(ge=0, description="of all artifacts")
    bytes_kept: int = Field(ge=0, description="of the artifacts that stay; 0 for an error")
    user_ids: list[str] = Field([], description="the users whom the request names")
    ended: float = Field(description="seconds since 1970 by the worker's clock")


class AnswerData(Wire):
    """What the data of every answer may have."""

    cost_time: float = Field(ge=0, description="seconds")
    usage: Usage | None = Field(None, description="absent where nothing was run, and in answers of earlier releases")
    warnings: list[str] = []


class ErrorData(AnswerData):
    """`data` of an answer whose code is `error`."""

    error: ErrorDetail
    manifest: str | None = Field(None, description="key of a manifest that was never run")


class CheckResult(Wire):
    """The verdict on one photo."""

    url: str = Field(description="the photo's reference, without secrets")
    message: str
    code: Verdict = Field(description="1 is usable; docs/requests.md has all")
    frontal: bool
    face: tuple[int, int, int, int] | None = Field(None, description="left, top, right, bottom in pixels")
    faces: list[tuple[int, int, int, int]] = Field(
        [], description="every face, from left to right: as generate counts them, if the picture is a template"
    )
    width: int | None = Field(None, description="pixels of the upright picture; 0 if it was not decoded")
    height: int | None = None
    sharpness: float | None = Field(None, description="below 0.02 the face is blurred")
    brightness: float | None = Field(None, description="mean of the face, 0 to 1")
    yaw: float | None = Field(None, description="degrees; positive: the nose points to the right of the picture")
    pitch: float | None = Field(None, description="degrees; positive: up")
    roll: float | None = Field(None, description="degrees; positive: clockwise")
    quality: float | None = Field(None, description="0 to 1, by which train chooses photos")
    similarity: float | None = Field(None, description="to the other photos; 0.5 and more is one person")
    warnings: list[str] = []
    retryable: bool = Field(False, description="whether its server failed for the moment")
    retry_after: int | None = Field(None, description="seconds to wait before another check of it")

    @property
    def usable(self) -> bool:
        """Whether the photo can be used."""
        return self.code == 1


class CheckData(AnswerData):
    """`data` of a check's answer."""

    request_id: int | str
    images: list[str] | None = Field(description="as they came, without secrets; null where that would be too long")
    configure: dict[str, Any] | None
    check_results: list[CheckResult] = Field(description="one per image, in the order of the request")


class Checkpoint(Wire):
    """The scores of one checkpoint; step 0 is the base model."""

    step: int
    similarity: float | None
    faces: int
    copying: float | None
    diversity: float | None
    held_out_loss: float | None
    score: float | None
    pictures: str | None = Field(None, description="key of a JPEG with the portraits that were scored")


class EarlyStop(Wire):
    """Why a training ended before its last step."""

    step: int
    reason: Literal["overfitting", "diverged"]
    message: str
    error: ErrorDetail | None = None


class TrainData(AnswerData):
    """`data` of a training's answer."""

    user_id: str
    request_id: int | str
    trained: bool = Field(True, description="false where only the photos were kept")
    lora: str | None = Field(description="key of a .safetensors file for diffusers")
    lora_kohya: str | None = Field(None, description="the same for A1111 and ComfyUI")
    steps: int
    best_step: int | None
    resumed_at: int = 0
    stopped: EarlyStop | None = None
    similarity: float | None = Field(description="of the chosen checkpoint, 0 to 1")
    similarity_before: float | None = None
    similarity_to_known: float | None = Field(
        None, description="of the photos to the person known under the id before; 0.5 and more is one person"
    )
    checkpoints: list[Checkpoint] = []
    images_used: int
    images_held_out: int = 0
    images_rejected: list[RejectedPhoto] = []
    base_model: str
    face_engine: str
    trigger: str
    references: list[dict[str, Any]] = Field([], description="keys of the close-ups that portraits are made from")
    validation: str | None = Field(None, description="key of a PNG with portraits of each checkpoint")
    report: str | None = Field(None, description="key of a PNG with curves")
    seconds: dict[str, float] = {}
    committed: float | None = Field(None, description="seconds since 1970 by the store")


class BeforeAfter(Wire):
    """A measure against the template's face and against the portrait's."""

    before: float | None
    after: float | None


class PortraitFace(Wire):
    """One face of the template, from left to right."""

    user_id: str | None = Field(description="`none` where it stays; null for somebody without an id")
    box: tuple[int, int, int, int] = Field(description="left, top, right, bottom in pixels of the template")
    similarity: BeforeAfter
    distance: BeforeAfter
    trained: bool | None = None
    reference: str | None = Field(None, description="the picture that the face was taken from")


class PortraitReferences(Wire):
    """What became of the references of one person."""

    faces: list[int] = Field(description="numbers from 0, from left to right")
    user_id: str | None
    used: list[str]
    rejected: list[RejectedPhoto]
    similarity_to_known: float | None = Field(
        None, description="to the person known under the user_id before; 0.5 and more is one person"
    )


class Enhancement(Wire):
    """What was enhanced, and by what."""

    method: str
    by: str


class GenerateData(AnswerData):
    """`data` of a portrait's answer."""

    user_id: str | list[str | None] | None = Field(None, description="as in the request")
    image: str = Field(description="the PNG as base64, or its key")
    image_key: str
    width: int
    height: int
    trained: bool | None = None
    faces: list[PortraitFace]
    seed: int
    enhancement: Enhancement | None = None
    references: list[PortraitReferences] = []


Data = TypeVar("Data", bound=AnswerData)


class Envelope(Wire):
    """What is around the data of every answer, and of the progress."""

    request_id: str
    message: str
    contract: str = Field(
        FIRST_CONTRACT, pattern=r"^\d+\.\d+$", description="version of the contract, see docs/compatibility.md"
    )


class Answer(Envelope, Generic[Data]):
    """The answer to a request that ran to its end: `results/<function>/<request_id>/result.json`."""

    code: Literal["OK"]
    metadata: Metadata = Field({}, description="the request's, without secrets")
    data: Data


class ErrorAnswer(Envelope):
    """The answer to a request that could not be served, at the same key."""

    code: Literal["error"]
    metadata: Metadata = Field({}, description="the request's, without secrets")
    data: ErrorData


class ProgressData(Wire):
    """How far a running request is; a stage may have figures of its own, such as a loss."""

    stage: str
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    eta_seconds: float | None = Field(None, allow_inf_nan=False)


class ProgressEnvelope(Envelope):
    """`progress/<function>/<request_id>.json`, there while the request runs."""

    code: Literal["502"]
    data: ProgressData


class EventData(Wire):
    """`data` of a completion event."""

    bucket: str
    code: Literal["OK", "error"]
    message: str
    contract: str | None = None
    metadata: Metadata = {}


class CompletionEvent(Wire):
    """The CloudEvent about an answer, as webhooks, SNS topics and `notifications/` get it."""

    specversion: Literal["1.0"]
    id: str = Field(description="the same for every delivery of one outcome: drop ids that were seen")
    source: str = Field(pattern="^/photog/(check|train|generate)$")
    type: str = Field(pattern=r"^photog\.(check|train|generate)\.(succeeded|failed)\.v1$")
    subject: str = Field(description="the request_id")
    time: str
    datacontenttype: Literal["application/json"]
    dataref: str = Field(description="key of the answer")
    traceparent: str | None = Field(None, description="of the request's metadata, if it is a valid one")
    data: EventData


ANSWERS: dict[str, type[Answer[Any]]] = {
    "check": Answer[CheckData],
    "train": Answer[TrainData],
    "generate": Answer[GenerateData],
}
"""The answers of the functions that ran to their end, by function."""
