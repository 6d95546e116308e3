"""What an application does with a bucket: put pictures in, submit requests, wait for answers."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.buckets.base import Bucket
from shared.contract import keys
from shared.contract.manifests import Json, canonical_hash, decode, encode, parse
from shared.errors import ConflictingRequest

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Client:
    """A sender's view of one bucket."""

    bucket: Bucket

    def reference(self, photo: str) -> str:
        """How a manifest names a picture: a local file is copied into the bucket, anything else goes as it is."""
        path = Path(photo).expanduser()
        if "://" in photo or photo.startswith("data:") or not path.is_file():
            return photo
        data = path.read_bytes()
        key = f"{keys.PHOTOS}{hashlib.sha256(data).hexdigest()[:16]}{path.suffix.lower()}"
        self.bucket.put_if_absent(key, data)
        return key

    def submit(self, function: str, body: Json) -> str:
        """Drop a manifest; the request's id. The same request twice is one; ConflictingRequest for another body."""
        manifest = parse(encode(body))
        key = keys.request(function, manifest.request_id)
        if not self.bucket.put_if_absent(key, encode(body)):
            there = parse(self.bucket.get(key))
            if there.sha256 != manifest.sha256:
                raise ConflictingRequest(f"{key} is there with another body; choose another request_id", "request_id")
        return manifest.request_id

    def submit_named(self, function: str, body: Json) -> str:
        """Submit a body without an id under one made of itself, so that asking again finds the same answer.

        A body that was answered with an error before is asked anew.
        """
        for again in range(1, 1000):
            named = {
                "request_id": f"{function}-{canonical_hash(body)[:12]}" + (f"-{again}" if again > 1 else "")
            } | body
            answer = self.answer(function, named["request_id"])
            if answer is None or answer["code"] == "OK":
                return self.submit(function, named)
        raise ConflictingRequest("this request failed 999 times; look at its answers", "request_id")

    def answer(self, function: str, request_id: str) -> Json | None:
        """The answer, or None while there is none."""
        return self._json(keys.result(function, request_id))

    def progress(self, function: str, request_id: str) -> Json | None:
        """How far a running request is: stage, step, steps, eta_seconds; None when nobody has said."""
        envelope = self._json(keys.progress(function, request_id))
        return None if envelope is None else envelope["data"]

    def wait(
        self,
        function: str,
        request_id: str,
        on_progress: Callable[[Json | None], None] = lambda progress: None,
        timeout_seconds: float = float("inf"),
    ) -> Json:
        """Poll until the answer is there; `on_progress` is called at every look. TimeoutError."""
        until = time.monotonic() + timeout_seconds
        while (answer := self.answer(function, request_id)) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{function} {request_id} was not answered in {timeout_seconds:.0f} s")
            on_progress(self.progress(function, request_id))
            time.sleep(POLL_SECONDS)
        return answer

    def _json(self, key: str) -> Json | None:
        text = self.bucket.find(key)
        return None if text is None else decode(text)
