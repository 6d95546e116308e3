"""The client's way over HTTP: the REST interface of `photog serve`."""

from typing import Any
from urllib.parse import quote

import httpx

from photog.transport import ServerRefused
from shared import errors
from shared.contract import keys
from shared.contract.manifests import Json
from shared.errors import RequestError
from shared.operations.cancellation import UnknownRequest
from shared.operations.uploads import NoSignedUploads, SignedUpload

NOT_HERE = 501  # a folder has no signed URLs


class HttpTransport:
    """One server; implements `photog.transport.Transport`."""

    def __init__(self, url: str, token: str, timeout_seconds: float = 60.0, http: httpx.Client | None = None) -> None:
        """Connect to a server.

        Args:
            url: its address, with a path if a proxy gives it one.
            token: `PHOTOG_TOKEN` of the server.
            timeout_seconds: of each call.
            http: makes the calls; None makes one.
        """
        self._http = http or httpx.Client(base_url=url.rstrip("/"), timeout=timeout_seconds)
        self._headers = {"Authorization": f"Bearer {token}"}

    def submit(self, function: str, body: Json) -> str:
        """POST the request."""
        return str(self._call("POST", f"/v1/{function}", json=body).json()["request_id"])

    def look(self, function: str, request_id: str) -> Json | None:
        """GET the answer or the progress."""
        try:
            found: Json = self._call("GET", f"/v1/{function}/{quote(request_id)}").json()
        except UnknownRequest:
            return None
        return found

    def cancel(self, function: str, request_id: str) -> Json:
        """DELETE the request."""
        answer: Json = self._call("DELETE", f"/v1/{function}/{quote(request_id)}").json()
        return answer

    def list_requests(self, user_id: str) -> list[Json]:
        """GET a user's requests."""
        listed: list[Json] = self._call("GET", "/v1/requests", params={"user_id": user_id}).json()["requests"]
        return listed

    def upload(self, data: bytes, suffix: str, user_id: str | None) -> str:
        """POST the picture's bytes."""
        asked = {"suffix": suffix} | ({} if user_id is None else {"user_id": user_id})
        return str(self._call("POST", "/v1/photos", params=asked, content=data).json()["key"])

    def sign_upload(self, suffix: str, user_id: str | None, content_type: str, seconds: int) -> SignedUpload:
        """Ask the server for a signed URL of its bucket."""
        asked: Json = {"suffix": suffix, "content_type": content_type, "seconds": seconds}
        asked |= {} if user_id is None else {"user_id": user_id}
        return SignedUpload.model_validate(self._call("POST", "/v1/uploads", json=asked).json())

    def read(self, key: str) -> bytes:
        """GET a file of an answer."""
        _, function, request_id, name = (*key.split("/", 3), "", "", "")[:4]
        if not key.startswith(keys.RESULTS) or not name:
            raise ServerRefused(404, f"{key} is no file of an answer")
        return self._call("GET", f"/v1/{function}/{quote(request_id)}/files/{quote(name)}").content

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, headers=self._headers, **more)
        except httpx.HTTPError as error:
            raise ServerRefused(0, f"{method} {path}: {type(error).__name__}: {error}", errors.RETRY_SECONDS) from error
        if not response.is_success:
            raise _read_refusal(response)
        return response


def _read_refusal(response: httpx.Response) -> Exception:
    """Return the error that a refusal stands for: the contract's own types keep their class."""
    try:
        told = response.json()
        detail, message = told["error"], str(told["message"])
        name, field = str(detail["type"]), detail.get("field")
    except (ValueError, KeyError, TypeError):
        return _refused(response, response.text[:500])
    if name == UnknownRequest.__name__:
        return UnknownRequest(message)
    if response.status_code == NOT_HERE:
        return NoSignedUploads(message)
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, RequestError):
        return kind(message, field).retry_in(detail.get("retry_after"))
    return _refused(response, message)


def _refused(response: httpx.Response, message: str) -> ServerRefused:
    after = response.headers.get("Retry-After", "")
    return ServerRefused(response.status_code, message, int(after) if after.isdecimal() else None)
