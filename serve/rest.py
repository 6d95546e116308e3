"""The REST interface beside the SDK's protocol: plain requests and answers as JSON, for any HTTP client.

    POST   /v1/<function>                       a request; 202 with its id
    GET    /v1/<function>/<request_id>          200 the answer, 202 the progress; ?wait=20 waits for the answer
    GET    /v1/<function>/<request_id>/events   the same as server-sent events: `progress`, then `answer`
    DELETE /v1/<function>/<request_id>          cancels it; the answer
    GET    /v1/<function>/<request_id>/files/<name>   a file that the answer names, as a1/portrait.png
    GET    /v1/requests?user_id=                a user's requests and their states
    POST   /v1/photos                           a picture's bytes; 201 with its key
    POST   /v1/uploads                          a signed URL by which a browser uploads a picture to S3

Refusals are `{"error": {"type", "field"?, "retryable", "retry_after"?}, "message"}`, as in answers. A request goes into
the bucket as a manifest and does not pass through the SDK's queues.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from itertools import chain
from typing import Annotated, Any, Literal, Union

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from serve.auth import is_token_of
from serve.bodies import BodyReader
from serve.settings import FunctionName, ServeSettings
from shared.buckets.base import Bucket, BucketError, InvalidKey, MissingObject
from shared.contract import keys
from shared.contract.answers import ANSWERS, ErrorAnswer, ProgressEnvelope
from shared.contract.manifests import NOBODY, RUNNING, USER_ID, Json, parse, running
from shared.contract.validation import validate
from shared.errors import ConflictingRequest, InvalidField, ManifestTooLarge, PhotogError, PhotoTooLarge, RequestError
from shared.lifecycle.bucket_photos import require_picture
from shared.operations.cancellation import Cancellation, UnknownRequest
from shared.operations.client import Client
from shared.operations.uploads import NoSignedUploads, SignedUpload, sign_upload, store_photo
from shared.operations.user_requests import list_requests
from shared.runtime.context import notifying
from shared.runtime.request_models import request_model
from shared.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between two looks at a request that somebody waits for
COMMENT_SECONDS = 15.0  # between two comments of a stream without news, so that proxies keep it open
LONGEST_WAIT = 60.0
LONGEST_WISH = 4096  # bytes of the body that asks for a signed URL
TAG = "requests"


class NotAuthorized(PhotogError):
    """The call has no token, or one of another function."""


class NoSuchFile(PhotogError):
    """There is no such file of an answer."""


STATUS: dict[type[PhotogError], int] = {
    NotAuthorized: 401,
    NoSuchFile: 404,
    ConflictingRequest: 409,
    ManifestTooLarge: 413,
    PhotoTooLarge: 413,
    NoSignedUploads: 501,
    UnknownRequest: 404,
}
WISHES = (
    'body: this call signs a URL, so send JSON of any Content-Type, such as {"user_id": "ann", "suffix": ".jpg"}, or '
    "nothing; a picture's bytes go to POST /v1/photos"
)
BYTES = "send the bytes of one picture, as `curl --data-binary @photo.jpg` does"
NO_FORMS = f"body: this call takes no form; {BYTES}"
SUFFIXES = {"image/png": ".png", "image/webp": ".webp", "image/avif": ".avif", "image/heic": ".heic"}

RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]  # REQUEST_ID without a look-ahead
Token = Annotated[str | None, Header(alias="Authorization", description="Bearer TOKEN")]


class Accepted(BaseModel):
    """A request that was accepted."""

    function: FunctionName
    request_id: str


class StoredPhoto(BaseModel):
    """A picture that was stored."""

    key: str = Field(description="its reference in requests")


class UploadWish(BaseModel):
    """What a signed upload is for."""

    suffix: str = ".jpg"
    user_id: str | None = Field(None, description="whose picture it is: it goes when this user is forgotten")
    content_type: str = "image/jpeg"
    seconds: int = Field(900, ge=1, description="until the URL expires")


class RequestState(BaseModel):
    """One request of a user."""

    function: FunctionName
    request_id: str
    state: Literal["waiting", "running", "ok", "error"]


class UserRequests(BaseModel):
    """A user's requests."""

    user_id: str
    requests: list[RequestState]


class Rest:
    """What the routes do, apart from HTTP's words."""

    def __init__(self, bucket: Bucket, settings: Settings, serve: ServeSettings, bodies: BodyReader) -> None:
        self.bucket, self.settings, self.bodies = bucket, settings, bodies
        self._serve, self._client = serve, Client(bucket)
        self._ending = False

    def require_token(self, token: str | None, function: str | None = None) -> None:
        """Raise NotAuthorized unless the token opens a service of the function, or all services if None."""
        named = [name for name, served in self._serve.services.items() if function in (None, served)]
        opened = [is_token_of(self._serve, name, token) for name in named]
        if not (all(opened) if function is None else any(opened)):
            whose = f"for {function}" if function else "for all services"
            raise NotAuthorized(f"no or wrong token {whose}; send it as Authorization: Bearer TOKEN")

    def submit(self, function: str, text: bytes) -> str:
        """Write a request into the bucket; raises RequestError for one that could only be answered with an error."""
        manifest = parse(text)
        manifest.require_right()
        model = request_model(function)
        if model is not None:
            validate(model, manifest.body)
        return self._client.submit(function, manifest.body)

    def look(self, function: str, request_id: str) -> Json:
        """Return the answer, or the progress; raises UnknownRequest."""
        answer = self._client.answer(function, request_id)
        if answer is not None:
            return answer
        progress = self._client.progress(function, request_id)
        if progress is None:
            if not self._is_known(function, request_id):
                raise UnknownRequest(f"there is no {function} request {request_id}")
            progress = {"stage": "queued", "step": 0, "steps": 1, "eta_seconds": None}
        return running(request_id, progress)

    def _is_known(self, function: str, request_id: str) -> bool:
        """Return whether a request was sent here or has begun; others are not searched for, so often is this asked."""
        sent = self.bucket.head(keys.request(function, request_id)) is not None
        return sent or any(True for _ in self.bucket.list(keys.claims(function, request_id)))

    def cancel(self, function: str, request_id: str) -> Json:
        """Cancel a request; raises UnknownRequest."""
        with notifying(self.bucket, self.settings) as hooks:
            return Cancellation(self.bucket, function, self.settings, hooks).cancel(request_id)

    async def wait(self, function: str, request_id: str, seconds: float) -> Json:
        """Look until there is an answer or the time is over."""
        until = time.monotonic() + min(seconds, LONGEST_WAIT)
        while True:
            envelope = await run_in_threadpool(self.look, function, request_id)
            if envelope["code"] != RUNNING or time.monotonic() >= until or self._ending:
                return envelope
            await asyncio.sleep(LOOK_SECONDS)

    async def follow(self, function: str, request_id: str, first: Json) -> AsyncIterator[str]:
        """Yield server-sent events: each new progress, then the answer."""
        envelope, last, told = first, None, time.monotonic()
        while True:
            if envelope != last:
                answered = envelope["code"] != RUNNING
                yield f"event: {'answer' if answered else 'progress'}\ndata: {json.dumps(envelope)}\n\n"
                if answered:
                    return
                last, told = envelope, time.monotonic()
            elif time.monotonic() - told > COMMENT_SECONDS:
                yield ": still running\n\n"
                told = time.monotonic()
            if self._ending:
                return  # browsers connect again by themselves
            await asyncio.sleep(LOOK_SECONDS)
            try:
                envelope = await run_in_threadpool(self.look, function, request_id)
            except UnknownRequest:
                return  # it was forgotten meanwhile; a browser that connects again is told so
            except BucketError as error:
                log.warning("following %s %s ended: %s", function, request_id, error)
                return

    def end(self) -> None:
        """End what waits, because the server is stopping."""
        self._ending = True


def add_rest(app: FastAPI, rest: Rest) -> None:
    """Add the routes, and how their errors are answered."""
    app.include_router(_pictures(rest), prefix="/v1", tags=["pictures"])
    app.include_router(_requests(rest), prefix="/v1", tags=[TAG])
    app.add_exception_handler(RequestError, _refuse)
    for kind in (UnknownRequest, NoSignedUploads, NotAuthorized, NoSuchFile):
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameter)


def _requests(rest: Rest) -> APIRouter:
    router = APIRouter()
    answers: Any = Union[(*ANSWERS.values(), ErrorAnswer)]
    either: dict[int | str, dict[str, Any]] = {
        200: {"model": answers, "description": "the answer"},
        202: {"model": ProgressEnvelope},
    }

    @router.get("/requests", summary="A user's requests and their states; reads the whole bucket")
    async def requests(user_id: str, token: Token = None) -> UserRequests:
        rest.require_token(token)
        if not USER_ID.fullmatch(user_id) or user_id == NOBODY:
            raise InvalidField("user_id: there can be no such user", "user_id")
        listed = await run_in_threadpool(list_requests, rest.bucket, user_id, rest.settings)
        return UserRequests.model_validate({"user_id": user_id, "requests": listed})

    @router.post(
        "/{function}",
        status_code=202,
        summary="Send a request; the body is as in docs/requests.md",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}},
    )
    async def submit(function: FunctionName, request: Request, response: Response, token: Token = None) -> Accepted:
        rest.require_token(token, function)
        async with rest.bodies.read(request, rest.settings.limits.manifest_bytes, ManifestTooLarge) as text:
            request_id = await run_in_threadpool(rest.submit, function, text)
        response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/{function}/{request_id}"
        return Accepted(function=function, request_id=request_id)

    @router.get("/{function}/{request_id}", summary="The answer, or how far the request is", responses=either)
    async def read(
        function: FunctionName,
        request_id: RequestId,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="seconds to wait for the answer")] = 0,
        token: Token = None,
    ) -> JSONResponse:
        rest.require_token(token, function)
        envelope = await rest.wait(function, request_id, wait)
        return JSONResponse(envelope, 202 if envelope["code"] == RUNNING else 200)

    @router.get("/{function}/{request_id}/events", summary="Server-sent events: `progress` each time, then `answer`")
    async def events(function: FunctionName, request_id: RequestId, token: Token = None) -> StreamingResponse:
        rest.require_token(token, function)
        first = await run_in_threadpool(rest.look, function, request_id)
        kept = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(rest.follow(function, request_id, first), 200, kept, "text/event-stream")

    answered: dict[int | str, dict[str, Any]] = {200: {"model": answers}}

    @router.delete("/{function}/{request_id}", summary="Cancel a request; its answer", responses=answered)
    async def cancel(function: FunctionName, request_id: RequestId, token: Token = None) -> JSONResponse:
        rest.require_token(token, function)
        return JSONResponse(await run_in_threadpool(rest.cancel, function, request_id))

    return router


def _pictures(rest: Rest) -> APIRouter:
    router = APIRouter()
    files: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}, "application/octet-stream": {}}}}
    picture = {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}

    @router.post("/photos", status_code=201, summary="Store a picture", openapi_extra={"requestBody": picture})
    async def store(
        request: Request,
        user_id: Annotated[str | None, Query(description="it goes when this user is forgotten")] = None,
        suffix: str | None = None,
        token: Token = None,
    ) -> StoredPhoto:
        rest.require_token(token)
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith("multipart/"):
            raise InvalidField(NO_FORMS, "body")
        ending = SUFFIXES.get(kind, ".jpg") if suffix is None else suffix
        async with rest.bodies.read(request, rest.settings.limits.photo_bytes, PhotoTooLarge) as data:
            if not data:
                raise InvalidField(f"body: it is empty; {BYTES}", "body")
            require_picture(data)
            return StoredPhoto(key=await run_in_threadpool(store_photo, rest.bucket, data, ending, user_id))

    wished = {"required": True, "content": {"application/json": {"schema": UploadWish.model_json_schema()}}}

    @router.post(
        "/uploads",
        summary="A signed URL by which a browser uploads a picture straight to S3",
        openapi_extra={"requestBody": wished},
    )
    async def sign(request: Request, token: Token = None) -> SignedUpload:
        rest.require_token(token)
        if request.headers.get("Content-Type", "").startswith("image/"):
            raise InvalidField(WISHES, "body")
        async with rest.bodies.read(request, LONGEST_WISH, ManifestTooLarge) as text:
            wish = _read_wish(text)
        asked = wish.suffix, wish.user_id, wish.content_type, wish.seconds
        return await run_in_threadpool(sign_upload, rest.bucket, *asked)

    @router.get(
        "/{function}/{request_id}/files/{name:path}",
        response_class=Response,
        summary="A file that the answer names, as a1/portrait.png",
        responses=files,
    )
    async def read_file(function: FunctionName, request_id: RequestId, name: str, token: Token = None) -> Response:
        rest.require_token(token, function)
        key = keys.result_folder(function, request_id) + name
        if keys.UNUSABLE.search(key) or not keys.ANSWERED_FILE.fullmatch(name):  # result.json has measurements of faces
            raise NoSuchFile(f"there is no file {name[:200]!a}")
        try:
            info = await run_in_threadpool(rest.bucket.head, key)
            pieces = rest.bucket.stream(key)
            first = await run_in_threadpool(next, pieces, b"")  # so that what is missing is told at once
        except (MissingObject, InvalidKey) as error:
            raise NoSuchFile(f"there is no file {name[:200]!a}") from error
        kind = "image/png" if name.endswith(".png") else "application/octet-stream"
        length = {} if info is None else {"Content-Length": str(info.size)}
        return StreamingResponse(chain([first], pieces), 200, length, kind)  # a LoRA may have half a gigabyte

    return router


def _read_wish(text: bytes) -> UploadWish:
    """Return the body of a call, which is read after its token; raises InvalidField."""
    try:
        return UploadWish.model_validate_json(text or b"{}")
    except ValidationError as error:
        if not error.errors()[0]["loc"]:  # no JSON, or no object
            raise InvalidField(WISHES, "body") from error
        raise _name_field(error.errors()) from error


def _name_field(errors: Sequence[Any]) -> InvalidField:
    """Return the first of pydantic's errors in the words of ours."""
    field = str(errors[0]["loc"][-1]) if errors[0]["loc"] else "body"
    return InvalidField(f"{field}: {errors[0]['msg']}", field)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PhotogError)
    plain: Json = {"type": type(error).__name__, "retryable": False}
    detail = error.as_dict() if isinstance(error, RequestError) else plain
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, NotAuthorized) else {}
    return JSONResponse({"error": detail, "message": str(error)}, STATUS.get(type(error), 422), headers)


async def _refuse_parameter(request: Request, error: Exception) -> JSONResponse:
    """Refuse a wrong path, parameter or member as a wrong member of a request is refused."""
    assert isinstance(error, RequestValidationError)
    return await _refuse(request, _name_field(error.errors()))
